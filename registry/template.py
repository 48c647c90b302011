"""Templates: what the business fields of each kind of record are called, where they stand and what they may hold.

Rules:

- A record's kind is named by its draft, else by its value at index 1000, else it is `generic` (`prefix` for
  `0.NA/…`); `generic` and `prefix` have no schema.
- Values at 1000 and 1001 name the template and its version; new records get the newest version, a draft may ask for
  an older one that is still there.
- Plain fields (`{"CAS_NO": "67-64-1"}`) become values: the template gives index and visibility. A field that may
  stand several times takes them separated by `;`.
- Values given by index are checked as fields when their type belongs to the template; an index above 1001 must be a
  field of it. Indexes below 1000 are free (URL, HS_ADMIN, keys …).
- Nothing unknown is dropped in silence: it is refused, naming the nearest known field.
- No value may be seen by more than its template allows, and no identifier may contain what must stay private.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import resources

import orjson

from registry.errors import InvalidValueError, LimitError
from registry.identifier import Identifier
from registry.record import GENERIC, PREFIX_KIND, Draft
from registry.template_check import Origins, check_content
from registry.template_schema import Content, Field, Template
from registry.value import BUSINESS_INDEX, TEMPLATE_INDEX, TEMPLATE_VERSION_INDEX, Value

__all__ = ["TEMPLATE_TYPE", "TEMPLATE_VERSION_TYPE", "TemplateCatalogue", "load_templates"]

TEMPLATE_TYPE = "TEMPLATE"
TEMPLATE_VERSION_TYPE = "TEMPLATE_VERSION"

#: Staleness and search of records without a template: an hour; every text is worth finding.
_PLAIN_STALENESS = 3600
_SEPARATOR = ";"
_SHOWN_LENGTH = 60
_MAX_FIELDS = 500
#: Where plain fields of a record without a template go by habit; the others follow from 2000 on.
_SYSTEM_TYPES = ("HS_", "HZ_")
_HABIT = {"URL": 1, "EMAIL": 2}


@dataclass(frozen=True, slots=True)
class _Choice:
    kind: str
    template: Template | None


class TemplateCatalogue:
    """All templates of a node; implements `registry.ports.Templates`. Immutable, safe for any number of threads."""

    def __init__(self, templates: Iterable[Template]) -> None:
        self._versions: dict[str, dict[int, Template]] = {}
        for template in templates:
            self._versions.setdefault(template.kind, {})[template.version] = template
        self._newest = {kind: found[max(found)] for kind, found in self._versions.items()}

    def kinds(self) -> tuple[str, ...]:
        """Return every kind, those without a schema last."""
        return (*sorted(self._newest), GENERIC, PREFIX_KIND)

    def newest(self, kind: str) -> Template | None:
        """Return the newest template of a kind; None for a kind without a schema or unknown."""
        return self._newest.get(kind)

    def indexed(self, kind: str) -> frozenset[str]:
        """Return the types that search finds; `*` stands for every type but those of the Handle system itself."""
        template = self._newest.get(kind)
        return template.indexed if template else frozenset({"*"})

    def searchable(self, value_type: str) -> bool:
        """Say whether search holds every value of this type, whatever the kind.

        It does unless some template has a field of this type that it does not index: what stands below index
        1000 is always indexed, and beyond that a record holds only fields of its template.
        """
        templates = (t for versions in self._versions.values() for t in versions.values())
        return not value_type.upper().startswith(_SYSTEM_TYPES) and all(
            value_type in t.indexed or value_type not in t.fields for t in templates
        )

    def greatest_staleness(self, kind: str) -> int:
        """Return how many seconds old an answer of this kind may be shown when its owner cannot be reached."""
        template = self._newest.get(kind)
        return template.greatest_staleness if template else _PLAIN_STALENESS

    def apply(self, draft: Draft, identifier: Identifier) -> tuple[str, tuple[Value, ...]]:
        """Check a draft and return its kind and values, ascending by index.

        Raises:
            InvalidValueError: unknown kind or field, a value that breaks its template, personal data in the
                identifier, an index named twice; `field` says which.
            LimitError: more than 500 fields.
        """
        if len(draft.fields) > _MAX_FIELDS:
            raise LimitError(
                "registry.template.many_fields", field="fields", count=len(draft.fields), limit=_MAX_FIELDS
            )
        choice = self._choose(draft, identifier)
        made = self._make(choice, draft.fields)
        values = _united(draft.values, made)
        if choice.template is None:
            return choice.kind, values
        content, origins = _content(choice.template, draft.values, made)
        check_content(choice.template, content, origins, identifier)
        return choice.kind, _with_template(choice.template, values)

    def values_of(
        self, kind: str, fields: Mapping[str, str], *, version: int | None = None
    ) -> tuple[Value, ...]:
        """Return the values that plain fields of a kind stand for, unchecked but for their names.

        Raises:
            InvalidValueError: an unknown kind, version or field, or too many values of a repeated field.
        """
        return tuple(v for v, _ in self._make(self._pick(kind, version), fields))

    def _choose(self, draft: Draft, identifier: Identifier) -> _Choice:
        named = _text_at(draft.values, TEMPLATE_INDEX)
        asked = draft.kind.strip().lower() if draft.kind else None
        if asked and named is not None and asked != named.strip().lower():
            raise InvalidValueError("registry.template.two_kinds", field="kind", value=asked, other=named)
        kind = asked or (named.strip().lower() if named else None)
        if kind is None:
            kind = PREFIX_KIND if identifier.named_prefix else GENERIC
        if kind == PREFIX_KIND and identifier.named_prefix is None:
            raise InvalidValueError(
                "registry.template.prefix_identifier", field="kind", identifier=identifier.text
            )
        version = _text_at(draft.values, TEMPLATE_VERSION_INDEX)
        if version is None or kind not in self._newest:
            return self._pick(kind, None)
        if not (version.isascii() and version.isdigit()):
            raise InvalidValueError("registry.template.version_number", field="1001", value=version)
        return self._pick(kind, int(version))

    def _pick(self, kind: str, version: int | None) -> _Choice:
        if kind in {GENERIC, PREFIX_KIND}:
            return _Choice(kind, None)
        known = self._versions.get(kind)
        if known is None:
            kind = _shown(kind)
            near = get_close_matches(kind, self.kinds(), n=1)
            raise InvalidValueError(
                "registry.template.unknown_kind_near" if near else "registry.template.unknown_kind",
                field="kind",
                value=kind,
                near=near[0] if near else "",
                known=", ".join(self.kinds()),
            )
        if version is None:
            return _Choice(kind, self._newest[kind])
        if version not in known:
            raise InvalidValueError(
                "registry.template.version_unknown",
                field="1001",
                value=version,
                kind=kind,
                known=", ".join(map(str, sorted(known))),
            )
        return _Choice(kind, known[version])

    def _make(self, choice: _Choice, fields: Mapping[str, str]) -> list[tuple[Value, str]]:
        """Return each field's values with the path that errors name."""
        if choice.template is None:
            return _plain(fields)
        made: list[tuple[Value, str]] = []
        for name, text in fields.items():
            path = f"fields.{_shown(name)}"
            field = choice.template.fields.get(name)
            if field is None:
                raise _unknown_field(choice.template, name, path)
            made += ((value, path) for value in _field_values(field, text, path))
        return made


def load_templates() -> TemplateCatalogue:
    """Read and compile the templates that come with the product."""
    folder = resources.files("registry").joinpath("templates")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return TemplateCatalogue(Template(orjson.loads(f.read_bytes())) for f in files)


def _text_at(values: Iterable[Value], index: int) -> str | None:
    return next((v.text for v in values if v.index == index), None)


def _shown(text: str) -> str:
    """Return a text as an error shows it: no longer than anybody would read."""
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def _unknown_field(template: Template, name: str, path: str) -> InvalidValueError:
    name = _shown(name)
    near = get_close_matches(name.upper(), template.fields, n=1, cutoff=0.5)
    return InvalidValueError(
        "registry.template.unknown_field_near" if near else "registry.template.unknown_field",
        field=path,
        kind=template.kind,
        value=name,
        near=near[0] if near else "",
        known=", ".join(template.fields),
    )


def _encoded(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidValueError("registry.template.not_text", field=path) from None


def _field_values(field: Field, text: str, path: str) -> list[Value]:
    texts = [t.strip() for t in text.split(_SEPARATOR)] if field.repeated else [text]
    if len(texts) > field.most:
        raise InvalidValueError("registry.template.too_many", field=path, count=len(texts), limit=field.most)
    return [
        _value(index, field, _encoded(part, path)) for index, part in zip(field.indexes, texts, strict=False)
    ]


def _value(index: int, field: Field, data: bytes) -> Value:
    value = Value(index=index, type=field.type, data=data)
    return value if field.visibility.is_public else value.seen_as(field.visibility)


def _plain(fields: Mapping[str, str]) -> list[tuple[Value, str]]:
    made: list[tuple[Value, str]] = []
    following = BUSINESS_INDEX
    for name, text in fields.items():
        path = f"fields.{_shown(name)}"
        if not name or not name.isprintable():
            raise InvalidValueError("registry.template.field_name", field=path)
        index = _HABIT.get(name)
        if index is None:
            index, following = following, following + 1
        made.append((Value(index=index, type=name, data=_encoded(text, path)), path))
    return made


def _united(given: Iterable[Value], made: Iterable[tuple[Value, str]]) -> tuple[Value, ...]:
    values: dict[int, Value] = {}
    for position, value in enumerate(given):
        if value.index in values:
            raise InvalidValueError(
                "registry.template.index_twice", field=f"values[{position}].index", index=value.index
            )
        values[value.index] = value
    for value, path in made:
        if value.index in values:
            raise InvalidValueError("registry.template.index_twice", field=path, index=value.index)
        values[value.index] = value
    return tuple(values[index] for index in sorted(values))


def _content(
    template: Template, given: Iterable[Value], made: Iterable[tuple[Value, str]]
) -> tuple[Content, Origins]:
    """Gather the texts by type, and where each type came from."""
    content: Content = {}
    origins: Origins = {}
    for position, value in enumerate(given):
        path = f"values[{position}]"
        field = _field_at(template, value, path)
        if field is not None:
            _refuse_wider(field, value, path)
            _gather(content, origins, field, value, f"{path}.data")
    for value, path in made:
        _gather(content, origins, template.fields[value.type], value, path)
    return content, origins


def _field_at(template: Template, value: Value, path: str) -> Field | None:
    field = template.fields.get(value.type)
    if field is not None and value.index in field.indexes:
        return field
    standing = template.by_index.get(value.index)
    if field is not None and (value.index >= BUSINESS_INDEX or field.index >= BUSINESS_INDEX):
        raise InvalidValueError(
            "registry.template.index_wrong",
            field=f"{path}.index",
            type=value.type,
            value=value.index,
            right=field.index if field.most == 1 else f"{field.index}–{field.indexes[-1]}",
        )
    if value.index > TEMPLATE_VERSION_INDEX and standing is not None:
        raise InvalidValueError(
            "registry.template.type_wrong",
            field=f"{path}.type",
            value=value.type,
            index=value.index,
            right=standing.type,
        )
    if value.index > TEMPLATE_VERSION_INDEX:
        raise _unknown_field(template, value.type, f"{path}.type")
    return None


def _refuse_wider(field: Field, value: Value, path: str) -> None:
    if value.visibility.scope < field.widest.scope:
        raise InvalidValueError(
            "registry.template.too_wide",
            field=f"{path}.visibility",
            type=field.type,
            value=value.visibility.scope.name.lower(),
            widest=field.widest.scope.name.lower(),
        )


def _gather(content: Content, origins: Origins, field: Field, value: Value, path: str) -> None:
    text = value.text
    if text is None:
        raise InvalidValueError("registry.template.not_text", field=path)
    origins.setdefault(field.type, path)
    if field.repeated:
        several = content.setdefault(field.type, [])
        if isinstance(several, list):
            several.append(text)
    else:
        content[field.type] = text


def _with_template(template: Template, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Put the values at 1000 and 1001 in; they say what was checked, whatever stood there."""
    named = {
        TEMPLATE_INDEX: (TEMPLATE_TYPE, template.kind.encode()),
        TEMPLATE_VERSION_INDEX: (TEMPLATE_VERSION_TYPE, str(template.version).encode()),
    }
    kept = {value.index: value for value in values}
    for index, (kind, data) in named.items():
        given = kept.get(index)
        kept[index] = Value(index=index, type=kind, data=data) if given is None else replace(given, data=data)
    return tuple(kept[index] for index in sorted(kept))
