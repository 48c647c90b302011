"""One template: a JSON Schema with the project's own keywords, compiled.

A template file `registry/templates/<kind>.<version>.json` is a JSON Schema (2020-12) of an object whose members are
the business fields, each a text, or an array of texts for a field that may stand several times. Keywords of our own:

| keyword | at | meaning |
|---|---|---|
| `x-template`, `x-version` | root | what the values at index 1000 and 1001 say |
| `x-title` | root, field | Chinese and English name |
| `x-greatest-staleness-seconds` | root | how old an answer may be shown when the owner is silent |
| `x-ascending`, `x-not-descending` | root | fields whose values must rise (or not fall), where present |
| `x-identifier-without-personal-data` | root | the suffix is ASCII without names, telephone or identity numbers |
| `x-index` | field | index of the value; an array takes as many indexes as `maxItems` |
| `x-visibility` | field | `public` (default), `federation` or `private` |
| `x-widest-visibility` | field | a value that may be seen by more is refused |
| `x-indexed` | field | found by search |
| `x-unit`, `x-units`, `x-unit-of` | field | unit of a quantity: one, one of several, or that named by another field |
| `x-minimum`, `x-maximum` | field | limits of a quantity, as exact decimals |
| `x-never-in-identifier` | field | the identifier must not contain the value |
| `x-example` | field | shown when a value is refused |
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

from registry.template_formats import FORMATS, Check, quantity_check
from registry.value import FEDERATION, PRIVATE, PUBLIC, Visibility

__all__ = ["Content", "Field", "Template"]

_SCOPES = {"public": PUBLIC, "federation": FEDERATION, "private": PRIVATE}

#: What is checked: texts by type, several for a field that may stand several times.
Content = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Field:
    """One business field of a template.

    Attributes:
        type: type name of its values, and name in drafts and import files.
        index: index of its (first) value.
        most: how many values it may have; more than one makes it a repeated field.
        visibility: of values made from plain fields.
        widest: the widest visibility allowed.
        unit_of: name of the field that says in which unit this one is.
    """

    type: str
    index: int
    most: int
    title: Mapping[str, str]
    visibility: Visibility
    widest: Visibility
    indexed: bool
    example: str
    unit_of: str | None
    never_in_identifier: bool
    repeated: bool

    @property
    def indexes(self) -> range:
        """The indexes its values may have."""
        return range(self.index, self.index + self.most)


class Template:
    """A compiled template. Immutable; any number of threads may use it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        properties: Mapping[str, Mapping[str, Any]] = document["properties"]
        self.kind: str = document["x-template"]
        self.version: int = document["x-version"]
        self.title: Mapping[str, str] = document["x-title"]
        self.document = document
        self.greatest_staleness: int = document["x-greatest-staleness-seconds"]
        self.ascending: list[list[str]] = document.get("x-ascending", [])
        self.not_descending: list[list[str]] = document.get("x-not-descending", [])
        self.guards_identifier: bool = document.get("x-identifier-without-personal-data", False)
        self.fields = {name: _field(name, rules) for name, rules in properties.items()}
        self.by_index = {i: field for field in self.fields.values() for i in field.indexes}
        self.indexed = frozenset(name for name, field in self.fields.items() if field.indexed)
        self._units_of = tuple(f for f in self.fields.values() if f.unit_of)
        self._never = tuple(f for f in self.fields.values() if f.never_in_identifier)
        self._checks: dict[str, Check] = dict(FORMATS)
        self._validator = self._compile(document)

    @property
    def unit_fields(self) -> tuple[Field, ...]:
        """The fields whose unit another field names."""
        return self._units_of

    @property
    def identifying_fields(self) -> tuple[Field, ...]:
        """The fields whose value must not stand in the identifier."""
        return self._never

    def is_valid(self, content: Content) -> bool:
        """Say whether the content obeys the schema."""
        return self._validator.is_valid(content)

    def faults(self, content: Content) -> Iterator[ValidationError]:
        """Yield what the schema finds wrong, in no order to rely on."""
        yield from self._validator.iter_errors(content)

    def check_of(self, format_name: str) -> Check | None:
        """Return the check behind a format name of this template."""
        return self._checks.get(format_name)

    def _compile(self, document: Mapping[str, Any]) -> Draft202012Validator:
        properties = {}
        for name, rules in document["properties"].items():
            items = rules.get("items", rules)
            units = items.get("x-units") or ([items["x-unit"]] if "x-unit" in items else [])
            if not units:
                properties[name] = rules
                continue
            own = f"quantity of {name}"
            self._checks[own] = quantity_check(
                units, minimum=items.get("x-minimum"), maximum=items.get("x-maximum")
            )
            narrowed = {**items, "format": own}
            properties[name] = {**rules, "items": narrowed} if items is not rules else narrowed
        formats = {name: _asks(check) for name, check in self._checks.items()}
        return Draft202012Validator(
            {**document, "properties": properties}, validate_formats=True, formats=formats
        )


def _asks(check: Check) -> Any:
    return lambda text: check(text) is None


def _field(name: str, rules: Mapping[str, Any]) -> Field:
    items = rules.get("items", rules)
    return Field(
        type=name,
        index=rules["x-index"],
        most=rules.get("maxItems", 1),
        title=rules["x-title"],
        visibility=_SCOPES[rules.get("x-visibility", "public")],
        widest=_SCOPES[rules.get("x-widest-visibility", "public")],
        indexed=rules.get("x-indexed", False),
        example=rules.get("x-example", ""),
        unit_of=items.get("x-unit-of"),
        never_in_identifier=rules.get("x-never-in-identifier", False),
        repeated="items" in rules,
    )
