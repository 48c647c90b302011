"""The kinds of events: which members each has, and what must stand together.

Source: EPCIS 2.0 sections 7.4.2 to 7.4.6 and its JSON schema. Own rules beside the schema: a parent is asked for by
aggregation and association unless an aggregation is only observed; an empty list counts as none.
"""

from collections.abc import Callable, Mapping
from typing import Any

from node.flow.events.faults import Path
from node.flow.events.members import COMMON, MEMBERS, Check, Judgement, judge_members
from node.flow.events.moments import instant
from node.flow.events.texts import is_uri, own_name

__all__ = ["judge_event"]

_EVERYWHERE = """bizStep disposition persistentDisposition readPoint bizLocation bizTransactionList sourceList
destinationList sensorElementList"""


def _members(names: str) -> Mapping[str, Check]:
    return {**COMMON, **{name: MEMBERS[name] for name in f"{_EVERYWHERE} {names}".split()}}


_CHILDREN = "childEPCs childQuantityList"
_INPUTS = "inputEPCList inputQuantityList"
_OUTPUTS = "outputEPCList outputQuantityList"
_KINDS: Mapping[str, Mapping[str, Check]] = {
    "ObjectEvent": _members("action epcList quantityList ilmd"),
    "AggregationEvent": _members(f"action parentID {_CHILDREN}"),
    "TransactionEvent": _members("action parentID epcList quantityList"),
    "TransformationEvent": _members(f"transformationID ilmd {_INPUTS} {_OUTPUTS}"),
    "AssociationEvent": _members(f"action parentID {_CHILDREN}"),
}
_OWN_KIND: Mapping[str, Check] = {**COMMON, **MEMBERS}


def judge_event(event: Any, at: Path, judgement: Judgement) -> None:
    """Judge one event; what is wrong with it goes into the judgement's sink."""
    kind = event.get("type") if isinstance(event, dict) else None
    members = _KINDS.get(kind, _OWN_KIND) if isinstance(kind, str) else _OWN_KIND
    if not judge_members(event, at, judgement, members):
        return
    for name in ("type", "eventTime", "eventTimeZoneOffset"):
        if name not in event:
            judgement.sink.add(at, "missing", value=name)
    if members is _OWN_KIND:
        _own_kind(kind, at, judgement)
    else:
        _together(kind, event, at, judgement)
    if "sensorElementList" in event and not judgement.sink.faults:
        _sensed_before(event, at, judgement)


def _own_kind(kind: object, at: Path, judgement: Judgement) -> None:
    if not isinstance(kind, str):
        return
    if own_name(kind, judgement.context.prefixes) is not None or not is_uri(kind):
        judgement.sink.add((at, "type"), "kind", value=kind, right=", ".join(_KINDS))


def _together(kind: str | None, event: Mapping[str, Any], at: Path, judgement: Judgement) -> None:
    if kind != "TransformationEvent" and "action" not in event:
        judgement.sink.add(at, "missing", value="action")
    elif kind is not None:
        _TOGETHER[kind](event, at, judgement)


def _object(event: Mapping[str, Any], at: Path, judgement: Judgement) -> None:
    if not (event.get("sensorElementList") and "readPoint" in event):
        _one_of("epcList quantityList", event, at, judgement, "one_of_object")
    if "ilmd" in event and event["action"] != "ADD":
        judgement.sink.add((at, "ilmd"), "ilmd", value=event["action"])


def _transaction(event: Mapping[str, Any], at: Path, judgement: Judgement) -> None:
    if "bizTransactionList" not in event:
        judgement.sink.add(at, "missing", value="bizTransactionList")
    elif event["bizTransactionList"] == []:
        judgement.sink.add((at, "bizTransactionList"), "empty")
    if event["action"] != "DELETE":
        _one_of("epcList quantityList", event, at, judgement)


def _grouping(event: Mapping[str, Any], at: Path, judgement: Judgement) -> None:
    observed = event["type"] == "AggregationEvent" and event["action"] == "OBSERVE"
    if "parentID" not in event and not observed:
        judgement.sink.add(at, "missing", value="parentID")
    if event["action"] != "DELETE":
        _one_of(_CHILDREN, event, at, judgement)


def _transformation(event: Mapping[str, Any], at: Path, judgement: Judgement) -> None:
    if "transformationID" in event:
        _one_of(f"{_INPUTS} {_OUTPUTS}", event, at, judgement)
    else:
        _one_of(_INPUTS, event, at, judgement)
        _one_of(_OUTPUTS, event, at, judgement)


_TOGETHER: Mapping[str, Callable[[Mapping[str, Any], Path, Judgement], None]] = {
    "ObjectEvent": _object,
    "TransactionEvent": _transaction,
    "TransformationEvent": _transformation,
    "AggregationEvent": _grouping,
    "AssociationEvent": _grouping,
}


def _one_of(
    names: str, event: Mapping[str, Any], at: Path, judgement: Judgement, fault: str = "one_of"
) -> None:
    each = names.split()
    if not any(event.get(name) for name in each):
        judgement.sink.add(at, fault, right=", ".join(each))


def _sensed_before(event: Mapping[str, Any], at: Path, judgement: Judgement) -> None:
    """What a sensor measured lies before the event that tells it."""
    latest = instant(event["eventTime"])
    for index, element in enumerate(event["sensorElementList"]):
        written = element.get("sensorMetadata", {}).get("time")
        if written is not None and instant(written) > latest:
            here = ((((at, "sensorElementList"), index), "sensorMetadata"), "time")
            judgement.sink.add(here, "sensed_later", value=written, latest=event["eventTime"])
