"""Documents of EPCIS 2.0, read from bytes and judged: an EPCISDocument, an EPCISQueryDocument, or one bare event.

Every fault is told with its place, up to a cap. Faults of the frame (its context, its head) and faults of an event
are kept apart: a capture that goes on after an error needs to know which events are sound.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from node.flow.events.contexts import KNOWN, NO_CONTEXT, Context, resolve
from node.flow.events.event import Event, read
from node.flow.events.faults import ROOT, DocumentError, Fault, Path, Sink, pointer
from node.flow.events.hashing import event_hash
from node.flow.events.kinds import judge_event
from node.flow.events.members import Check, Judgement, judge_members, judge_text, judge_time, judge_uri
from registry.errors import LimitError
from registry.trust.strict_json import loads_exact

__all__ = ["Document", "Entry", "Limits", "read_document", "standalone", "write"]

_VERSION = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_DOCUMENT = "EPCISDocument"
#: Where the events of a document stand; everything else is one bare event.
_EVENT_LISTS = {
    _DOCUMENT: ("epcisBody", "eventList"),
    "EPCISQueryDocument": ("epcisBody", "queryResults", "resultsBody", "eventList"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a document may be.

    Attributes:
        size: bytes.
        events: events in one document.
        depth: arrays and objects inside one another.
        faults: faults told; behind them each unsound event still tells one.
        ahead: how far the clock of another house may be ahead.
    """

    size: int = 10_000_000
    events: int = 10_000
    depth: int = 32
    faults: int = 100
    ahead: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a document, or why it is none.

    Attributes:
        pointer: where it stands.
        event: None when there are faults.
    """

    pointer: str
    event: Event | None
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read.

    Attributes:
        kind: EPCISDocument, EPCISQueryDocument, or the type of the bare event.
        content: the whole, numbers as `Decimal`.
        context: what its `@context` means.
        faults: of the frame; the events' own are in `entries`.
    """

    kind: str
    content: Mapping[str, Any]
    context: Context
    faults: tuple[Fault, ...]
    entries: tuple[Entry, ...] = field(default=())

    @property
    def events(self) -> tuple[Event, ...]:
        """The sound events, in their order."""
        return tuple(entry.event for entry in self.entries if entry.event is not None)

    @property
    def all_faults(self) -> tuple[Fault, ...]:
        """The faults of frame and events."""
        return (*self.faults, *(fault for entry in self.entries for fault in entry.faults))

    def require_sound(self) -> None:
        """Refuse the whole when anything is wrong.

        Raises:
            DocumentError: with every fault that was told.
        """
        faults = self.all_faults
        if faults:
            raise DocumentError.of(faults)


def read_document(
    data: bytes, *, now: datetime, limits: Limits = Limits(), known: Mapping[str, Mapping[str, str]] = KNOWN
) -> Document:
    """Read and judge a document.

    Args:
        data: the bytes as received.
        now: this instant, for what lies in the future.
        limits: how much it may be.
        known: JSON-LD contexts that are here, address → prefixes.

    Raises:
        MalformedError: it is not strict JSON.
        LimitError: it is too large, or holds too many events.
    """
    if len(data) > limits.size:
        raise LimitError("node.flow_events.size", limit=limits.size, size=len(data))
    content = loads_exact(data, max_depth=limits.depth)
    sink = Sink(limits.faults)
    if not isinstance(content, dict):
        sink.add(ROOT, "object")
        return Document("", {}, NO_CONTEXT, tuple(sink.faults))
    written = content.get("@context")
    context = resolve(written, (ROOT, "@context"), sink, known=known) if "@context" in content else NO_CONTEXT
    _require(content, ROOT, sink, "@context")
    judgement = Judgement(sink, context, now + limits.ahead)
    kind = content.get("type")
    steps = _EVENT_LISTS.get(kind) if isinstance(kind, str) else None
    if steps is None:
        event = {name: value for name, value in content.items() if name != "@context"}
        return Document(str(kind), content, context, (), (_entry(event, ROOT, judgement, written),))
    judge_members(content, ROOT, judgement, _DOCUMENT_MEMBERS)
    if kind == _DOCUMENT:
        _require(content, ROOT, sink, "schemaVersion", "creationDate")
    events, at = _list(content, steps, sink)
    if len(events) > limits.events:
        raise LimitError("node.flow_events.events", limit=limits.events, count=len(events))
    entries = _entries(events, at, judgement, written, known)
    return Document(str(kind), content, context, tuple(sink.faults), entries)


def _entries(
    events: list[Any], at: Path, frame: Judgement, written: object, known: Mapping[str, Mapping[str, str]]
) -> tuple[Entry, ...]:
    left = frame.sink.cap - len(frame.sink.faults)
    made = []
    for index, content in enumerate(events):
        sink = Sink(max(left, 1))
        context, own, here = frame.context, written, (at, index)
        if isinstance(content, dict) and "@context" in content:
            context = resolve(content["@context"], (here, "@context"), sink, known=known, base=context)
            own = [
                part
                for one in (written, content["@context"])
                for part in (one if isinstance(one, list) else [one])
            ]
            content = {name: value for name, value in content.items() if name != "@context"}  # noqa: PLW2901 — the event without its context
        entry = _entry(content, here, Judgement(sink, context, frame.latest), own)
        left -= len(entry.faults)
        made.append(entry)
    return tuple(made)


def _entry(content: Any, at: Path, judgement: Judgement, written: object) -> Entry:
    judge_event(content, at, judgement)
    if judgement.sink.faults:
        return Entry(pointer(at), None, tuple(judgement.sink.faults))
    return Entry(pointer(at), read(content, event_hash(content, judgement.context), written), ())


def _list(content: Mapping[str, Any], steps: tuple[str, ...], sink: Sink) -> tuple[list[Any], Path]:
    """Go down to the list of events; what is missing on the way is told."""
    at: Path = ROOT
    found: Any = content
    for step in steps:
        if not isinstance(found, dict):
            sink.add(at, "object")
            return [], at
        if step not in found:
            sink.add(at, "missing", value=step)
            return [], at
        found, at = found[step], (at, step)
    if not isinstance(found, list):
        sink.add(at, "array")
        return [], at
    return found, at


def _require(content: Mapping[str, Any], at: Path, sink: Sink, *names: str) -> None:
    for name in names:
        if name not in content:
            sink.add(at, "missing", value=name)


def _version(value: Any, at: Path, judgement: Judgement) -> None:
    if not isinstance(value, str) or _VERSION.fullmatch(value) is None:
        judgement.sink.add(at, "version", value=value)


def _created(value: Any, at: Path, judgement: Judgement) -> None:
    judge_time(value, at, judgement)


def _anything(value: Any, at: Path, judgement: Judgement) -> None:
    """Judged elsewhere."""


def _header(value: Any, at: Path, judgement: Judgement) -> None:
    judge_members(value, at, judgement, {"epcisMasterData": _master_data})


def _master_data(value: Any, at: Path, judgement: Judgement) -> None:
    if not judge_members(value, at, judgement, {"vocabularyList": _anything}):
        return
    listed = value.get("vocabularyList", [])
    if not isinstance(listed, list):
        judgement.sink.add((at, "vocabularyList"), "array")
        return
    for index, vocabulary in enumerate(listed):
        here = ((at, "vocabularyList"), index)
        members: dict[str, Check] = {"type": judge_uri, "vocabularyElementList": _anything}
        judge_members(vocabulary, here, judgement, members, "type")


_DOCUMENT_MEMBERS: Mapping[str, Check] = {
    "@context": _anything,
    "type": _anything,
    "epcisBody": _anything,
    "schemaVersion": _version,
    "creationDate": _created,
    "id": judge_uri,
    "instanceIdentifier": judge_text,
    "sender": judge_text,
    "receiver": judge_text,
    "epcisHeader": _header,
}


def standalone(event: Event) -> dict[str, Any]:
    """Return an event as a document of its own: its content under the context it came with."""
    return {"@context": event.context, **event.content}


def write(content: Mapping[str, Any]) -> bytes:
    """Return a document as JSON, its numbers with the digits they were read with."""
    return orjson.dumps(content, default=_number)


def _number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)
