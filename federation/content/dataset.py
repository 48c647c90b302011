"""Declared datasets: what an entry may hold, how often it goes up, and what of it is shared when nobody says more.

A file `datasets/<name>.<version>.json` declares one version of a dataset:

| member | meaning |
|---|---|
| `dataset`, `version`, `title` | what it is called; the schema on the wire is `<dataset>/<version>` |
| `definition`, `note` | `docking`: contents as the docking guide lists them; `own`: this node's own definition |
| `stream`, `type` | how its entries travel |
| `rhythm` | at the latest when what changed goes up; a node may be faster, never slower |
| `key` | the field that tells entries of one owner apart |
| `relay` | whether the receiver passes the entries on to the tier above it |
| `share` | receiving tier (`*`: every other) → `value`, `digest` or `withheld` |
| `fields` | name → `title`, `schema` (JSON Schema), `required`, its own `share`, `from` (types of record values) |

An entry on the wire holds for each field its value, or `{"digest": …}` in its place; what is withheld is named. One
identifier field at most names the object, and the rights of the sender must cover it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cache
from importlib import resources
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator

from registry.errors import InvalidValueError, LimitError, MalformedError, NotFoundError
from registry.identifier import Identifier, Prefix, fold

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_ENTRIES",
    "Dataset",
    "Datasets",
    "Entry",
    "Field",
    "Operation",
    "Rhythm",
    "Sharing",
    "Tier",
    "compiled",
    "load_datasets",
    "tier_of",
]

#: Entries in one envelope. With `MAX_BODY_BYTES` this keeps every body inline and every refusal narrow.
MAX_ENTRIES = 200
MAX_BODY_BYTES = 49_152
_MAX_VERSION = (1 << 53) - 1
_MAX_KEY = 255
#: Fields whose value is compared as identifiers are: ASCII letters folded.
_FOLDED = frozenset({"identifier", "prefix", "subject"})
_DIGEST = {
    "type": "object",
    "properties": {"digest": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}},
    "required": ["digest"],
    "additionalProperties": False,
}
_ENTRY_MEMBERS = frozenset({"version", "operation", "at", "content", "withheld"})


class Rhythm(StrEnum):
    """How soon after a change an entry goes up; days and months begin at midnight, China time."""

    REAL_TIME = "real-time"
    HOURLY = "hourly"
    DAILY = "daily"
    MONTHLY = "monthly"


class Sharing(StrEnum):
    """What a receiver gets of a field."""

    VALUE = "value"
    DIGEST = "digest"
    WITHHELD = "withheld"


class Tier(StrEnum):
    """Where a receiver stands."""

    TOP = "top"
    SECONDARY = "secondary"
    ENTERPRISE = "enterprise"


class Operation(IntEnum):
    """What happened to an entry; the numbers are those of the docking guide's table of registrations."""

    ADD = 1
    DELETE = 2
    MODIFY = 3


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a dataset.

    Attributes:
        share: receiving tier or `*` → sharing; empty: as the dataset says.
        types: types of the record values it may be taken from, the first that is there counts.
        many: whether it holds an array.
    """

    name: str
    title: Mapping[str, str]
    required: bool
    share: Mapping[str, Sharing]
    types: tuple[str, ...]
    many: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one entry.

    Attributes:
        version: grows with every change of the entry; what arrives late loses against what is newer.
        operation: what happened.
        at: POSIX seconds of the change.
        content: fields; of a deleted entry perhaps its key alone.
        withheld: fields that have a value which is not shown.
    """

    version: int
    operation: Operation
    at: int
    content: Mapping[str, Any]
    withheld: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the entry as it stands in a body."""
        made: dict[str, Any] = {
            "version": self.version,
            "operation": int(self.operation),
            "at": self.at,
            "content": dict(self.content),
        }
        if self.withheld:
            made["withheld"] = list(self.withheld)
        return made


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version of a declared dataset, compiled. Immutable; any number of threads may use it."""

    name: str
    version: int
    title: Mapping[str, str]
    definition: str
    stream: str
    type: str
    rhythm: Rhythm
    key: str
    relay: bool
    share: Mapping[str, Sharing]
    fields: Mapping[str, Field]
    _whole: Draft202012Validator = field(repr=False, compare=False, hash=False)
    _shown: Draft202012Validator = field(repr=False, compare=False, hash=False)

    @property
    def schema(self) -> str:
        """What the entries' schema is called on the wire."""
        return f"{self.name}/{self.version}"

    def key_of(self, content: Mapping[str, Any]) -> str:
        """Return the key of an entry with this content, as entries are told apart."""
        text = str(content[self.key])
        return fold(text) if self.key in _FOLDED else text

    def check_own(self, content: Mapping[str, Any], *, gone: bool = False) -> None:
        """Check what is about to be shared, before any sharing rule is applied; `gone`: the key alone will do.

        Raises:
            InvalidValueError: it breaks the schema; `field` says where.
        """
        if gone and set(content) == {self.key}:
            self._check(self._shown, content, self.key)
            return
        self._check(self._whole, content, "content")

    def check_shown(self, content: Mapping[str, Any], at: str) -> None:
        """Check content that need not be whole.

        Raises:
            InvalidValueError: a field breaks the schema; `field` says which.
            MalformedIdentifierError: the key is no identifier.
        """
        self._check(self._shown, dict(content), at)
        self._check_key(content, f"{at}.{self.key}")

    def fitting(self, content: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return what of a content the schema takes, and the names of the fields it does not."""
        faults = {str(next(iter(f.instance_path), "")) for f in self._shown.iter_errors(dict(content))}
        odd = tuple(name for name in content if name in faults or name not in self.fields)
        return {name: value for name, value in content.items() if name not in odd}, odd

    def body(self, entries: Iterable[Entry]) -> dict[str, Any]:
        """Return the body that carries entries."""
        return {"dataset": self.name, "entries": [entry.to_wire() for entry in entries]}

    def read(self, body: Any) -> tuple[Entry, ...]:
        """Read a body that somebody sent.

        Raises:
            MalformedError: it is not a body of this dataset.
            LimitError: too many entries.
            InvalidValueError: an entry breaks the schema; `field` says which.
        """
        if not isinstance(body, dict) or set(body) != {"dataset", "entries"} or body["dataset"] != self.name:
            raise MalformedError("federation.content.body", field="body", dataset=self.name)
        rows = body["entries"]
        if not isinstance(rows, list) or not rows:
            raise MalformedError("federation.content.body", field="entries", dataset=self.name)
        if len(rows) > MAX_ENTRIES:
            raise LimitError(
                "federation.content.entries", field="entries", count=len(rows), limit=MAX_ENTRIES
            )
        return tuple(self._entry(row, f"entries[{place}]") for place, row in enumerate(rows))

    def _entry(self, row: Any, at: str) -> Entry:
        if not isinstance(row, dict) or not set(row) <= _ENTRY_MEMBERS:
            raise MalformedError("federation.content.entry", field=at)
        head: list[Any] = [row.get(name) for name in ("version", "operation", "at")]
        version, operation, when = head
        content, withheld = row.get("content"), row.get("withheld", [])
        good = (
            type(version) is int
            and 0 < version <= _MAX_VERSION
            and type(operation) is int
            and operation in tuple(Operation)
            and type(when) is int
            and 0 <= when <= _MAX_VERSION
            and isinstance(withheld, list)
            and all(isinstance(name, str) and name in self.fields for name in withheld)
        )
        if not good or not isinstance(content, dict):
            raise MalformedError("federation.content.entry", field=at)
        self._check(self._shown, content, f"{at}.content")
        self._check_key(content, f"{at}.content.{self.key}")
        return Entry(version, Operation(operation), when, content, tuple(withheld))

    def _check(self, validator: Draft202012Validator, content: Mapping[str, Any], at: str) -> None:
        fault = next(iter(validator.iter_errors(content)), None)
        if fault is not None:
            place = ".".join(str(step) for step in fault.instance_path)
            raise InvalidValueError(
                "federation.content.schema",
                field=f"{at}.{place}" if place else at,
                schema=self.schema,
                reason=fault.message[:200],
            )

    def _check_key(self, content: Mapping[str, Any], at: str) -> None:
        text = content[self.key]
        if self.key == "prefix":
            Prefix.parse(text, field=at)
        elif self.key in _FOLDED:
            Identifier.parse(text, field=at)
        if len(text) > _MAX_KEY or "\0" in text:
            raise InvalidValueError(
                "federation.content.schema", field=at, schema=self.schema, reason=f"> {_MAX_KEY}"
            )


class Datasets:
    """The datasets this node knows: what it sends, and every version it understands. Immutable."""

    def __init__(self, known: Iterable[Dataset]) -> None:
        self._known = {(made.name, made.version): made for made in known}
        self._newest: dict[str, Dataset] = {}
        for (name, version), made in sorted(self._known.items()):
            if name not in self._newest or version > self._newest[name].version:
                self._newest[name] = made

    def __iter__(self) -> Any:
        """Iterate over every version of every dataset."""
        return iter(self._known.values())

    def names(self) -> tuple[str, ...]:
        """Return the names, in order."""
        return tuple(sorted(self._newest))

    def newest(self, name: str) -> Dataset:
        """Return the version that is sent.

        Raises:
            NotFoundError: there is no such dataset.
        """
        found = self._newest.get(name)
        if found is None:
            raise NotFoundError("federation.content.dataset", field="dataset", dataset=name[:64])
        return found


def tier_of(prefix: Prefix) -> Tier:
    """Return the tier at which the node of a prefix stands: one label the top, two the secondary nodes."""
    depth = len(prefix.labels)
    if depth == 1:
        return Tier.TOP
    return Tier.SECONDARY if depth == 2 else Tier.ENTERPRISE  # noqa: PLR2004 — the second tier


@cache
def load_datasets() -> Datasets:
    """Return the datasets that come with this release."""
    folder = resources.files("federation.content").joinpath("datasets")
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".json"))
    return Datasets(compiled(orjson.loads(folder.joinpath(name).read_bytes())) for name in files)


def compiled(document: Mapping[str, Any]) -> Dataset:
    """Return the dataset that a document declares."""
    rules: Mapping[str, Mapping[str, Any]] = document["fields"]
    key = document["key"]
    whole = {name: rule["schema"] for name, rule in rules.items()}
    shown = {name: made if name == key else {"anyOf": [made, _DIGEST]} for name, made in whole.items()}
    needed = [name for name, rule in rules.items() if rule.get("required")]
    return Dataset(
        name=document["dataset"],
        version=document["version"],
        title=document["title"],
        definition=document["definition"],
        stream=document["stream"],
        type=document["type"],
        rhythm=Rhythm(document["rhythm"]),
        key=key,
        relay=document["relay"],
        share={tier: Sharing(how) for tier, how in document["share"].items()},
        fields={name: _field(name, rule) for name, rule in rules.items()},
        _whole=_validator(whole, needed),
        _shown=_validator(shown, [key]),
    )


def _validator(properties: Mapping[str, Any], needed: list[str]) -> Draft202012Validator:
    return Draft202012Validator(
        {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
    )


def _field(name: str, rule: Mapping[str, Any]) -> Field:
    return Field(
        name=name,
        title=rule["title"],
        required=rule.get("required", False),
        share={tier: Sharing(how) for tier, how in rule.get("share", {}).items()},
        types=tuple(rule.get("from", ())),
        many=rule["schema"].get("type") == "array",
    )
