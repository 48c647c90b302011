"""What may stand in the members of an event, one judge for each form of value.

Source: EPCIS 2.0 sections 7.3 and 9, and its JSON schema; the project's facts file on traceability, section 1. Where
the node is stricter than the schema, the rule says "own rule".
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from node.flow.events.contexts import Context
from node.flow.events.faults import Path, Sink
from node.flow.events.moments import instant, is_offset
from node.flow.events.texts import is_uri, own_name
from node.flow.events.vocabulary import (
    ALERT,
    BIZ_STEP,
    BIZ_TRANSACTION,
    COMPONENT,
    DISPOSITION,
    ERROR_REASON,
    MEASUREMENT,
    PARTY_ROLE,
    WordList,
    is_own_value,
)

__all__ = [
    "COMMON",
    "MEMBERS",
    "Check",
    "Judgement",
    "judge_members",
    "judge_text",
    "judge_time",
    "judge_uri",
]


@dataclass(slots=True)
class Judgement:
    """What is known while an event is judged.

    Attributes:
        sink: takes the faults.
        context: what the names mean.
        latest: what happens after this instant lies in the future.
    """

    sink: Sink
    context: Context
    latest: datetime


Check = Callable[[Any, Path, Judgement], None]

_UOM = re.compile(r"[A-Z0-9]{2,3}", re.ASCII)
_HEX = re.compile(r"[A-Fa-f0-9]+", re.ASCII)
#: GS1 keeps these for its own measurements and alerts, which are written bare.
_WEB_VOCABULARY = re.compile(r"https?://(?:www\.)?gs1\.org/voc/")
_NEAR = 3


def judge_uri(value: Any, at: Path, judgement: Judgement) -> None:
    """A URI."""
    if not isinstance(value, str) or not is_uri(value):
        judgement.sink.add(at, "uri", value=value)


def judge_text(value: Any, at: Path, judgement: Judgement) -> None:
    """Any text."""
    if not isinstance(value, str):
        judgement.sink.add(at, "text")


def judge_time(value: Any, at: Path, judgement: Judgement) -> datetime | None:
    """An RFC 3339 instant with a zone; return it."""
    try:
        return instant(value)
    except (ValueError, TypeError):
        judgement.sink.add(at, "instant", value=value)
        return None


def judge_members(
    value: Any, at: Path, judgement: Judgement, members: Mapping[str, Check], required: str = ""
) -> bool:
    """Judge an object: each member by its check, every other name as an own member; say whether it is an object."""
    if not isinstance(value, dict):
        judgement.sink.add(at, "object")
        return False
    if required and required not in value:
        judgement.sink.add(at, "missing", value=required)
    for name, content in value.items():
        check = members.get(name)
        if check is not None:
            check(content, (at, name), judgement)
        else:
            _own(name, content, at, judgement)
    return True


def _own(name: str, value: object, at: Path, judgement: Judgement) -> None:
    wrong = own_name(name, judgement.context.prefixes)
    if wrong is not None:
        judgement.sink.add((at, name), wrong, value=name)
    elif isinstance(value, dict | list):
        _inside(value, (at, name), judgement)


def _inside(value: object, at: Path, judgement: Judgement) -> None:
    """Inside own members only what looks like a CURIE must be one."""
    if isinstance(value, dict):
        for name, content in value.items():
            if own_name(name, judgement.context.prefixes) == "prefix":
                judgement.sink.add((at, name), "prefix", value=name)
            _inside(content, (at, name), judgement)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _inside(item, (at, index), judgement)


def _time(value: Any, at: Path, judgement: Judgement) -> None:
    judge_time(value, at, judgement)


def _past(value: Any, at: Path, judgement: Judgement) -> None:
    """Own rule: what is told has happened."""
    moment = judge_time(value, at, judgement)
    if moment is not None and moment > judgement.latest:
        judgement.sink.add(at, "future", value=value, latest=judgement.latest.isoformat(timespec="seconds"))


def _offset(value: Any, at: Path, judgement: Judgement) -> None:
    if not isinstance(value, str) or not is_offset(value):
        judgement.sink.add(at, "offset", value=value)


def _number(value: Any, at: Path, judgement: Judgement) -> None:
    if not isinstance(value, Decimal):
        judgement.sink.add(at, "number", value=value)


def _amount(value: Any, at: Path, judgement: Judgement) -> None:
    """Own rule: no negative quantities, though the schema takes them."""
    if not isinstance(value, Decimal):
        judgement.sink.add(at, "number", value=value)
    elif value < 0:
        judgement.sink.add(at, "negative", value=value)


def _truth(value: Any, at: Path, judgement: Judgement) -> None:
    if not isinstance(value, bool):
        judgement.sink.add(at, "truth", value=value)


def _formed(form: re.Pattern[str], fault: str) -> Check:
    def check(value: Any, at: Path, judgement: Judgement) -> None:
        if not isinstance(value, str) or form.fullmatch(value) is None:
            judgement.sink.add(at, fault, value=value)

    return check


def _action(value: Any, at: Path, judgement: Judgement) -> None:
    if value not in ("OBSERVE", "ADD", "DELETE"):
        judgement.sink.add(at, "action", value=value)


def _word(words: WordList) -> Check:
    reserved = words in (MEASUREMENT, ALERT)

    def check(value: Any, at: Path, judgement: Judgement) -> None:
        if isinstance(value, str) and value in words.words:
            return
        if not isinstance(value, str) or not is_uri(value):
            near = difflib.get_close_matches(str(value)[:64], sorted(words.words), _NEAR)
            judgement.sink.add(at, "word", value=value, near=", ".join(near or sorted(words.words)[:_NEAR]))
        elif _WEB_VOCABULARY.match(value) if reserved else not is_own_value(value):
            judgement.sink.add(at, "reserved", value=value)

    return check


def _many(item: Check, *, unique: bool = False, least: int = 0) -> Check:
    def check(value: Any, at: Path, judgement: Judgement) -> None:
        if not isinstance(value, list):
            judgement.sink.add(at, "array")
            return
        if len(value) < least:
            judgement.sink.add(at, "empty")
        for index, content in enumerate(value):
            item(content, (at, index), judgement)
        if unique and len(value) > 1:
            _repeated(value, at, judgement)

    return check


def _repeated(value: list[Any], at: Path, judgement: Judgement) -> None:
    seen: set[str] = set()
    for index, content in enumerate(value):
        if isinstance(content, str):
            if content in seen:
                judgement.sink.add((at, index), "repeated", value=content)
            seen.add(content)


def _closed(members: Mapping[str, Check], *required: str) -> Check:
    """An object that takes no own members."""

    def check(value: Any, at: Path, judgement: Judgement) -> None:
        if not isinstance(value, dict):
            judgement.sink.add(at, "object")
            return
        for name in required:
            if name not in value:
                judgement.sink.add(at, "missing", value=name)
        for name, content in value.items():
            one = members.get(name)
            if one is not None:
                one(content, (at, name), judgement)
            else:
                judgement.sink.add((at, name), "closed", value=name, right=", ".join(members))

    return check


def _open(members: Mapping[str, Check], required: str = "") -> Check:
    def check(value: Any, at: Path, judgement: Judgement) -> None:
        judge_members(value, at, judgement, members, required)

    return check


def _persistent(value: Any, at: Path, judgement: Judgement) -> None:
    _PERSISTENT(value, at, judgement)
    if isinstance(value, dict) and not value.keys() & {"set", "unset"}:
        judgement.sink.add(at, "one_of", right="set, unset")


def _certification(value: Any, at: Path, judgement: Judgement) -> None:
    (_URIS if isinstance(value, list) else judge_uri)(value, at, judgement)


def _all(check: Check, names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), check)


_URIS = _many(judge_uri)
_PERSISTENT = _closed(_all(_many(_word(DISPOSITION), unique=True, least=1), "set unset"))
_PLACE = _open({"id": judge_uri}, "id")
_QUANTITY = _closed({"epcClass": judge_uri, "quantity": _amount, "uom": _formed(_UOM, "uom")}, "epcClass")
_METADATA = _open(
    _all(_time, "time startTime endTime")
    | _all(judge_uri, "deviceID deviceMetadata rawData dataProcessingMethod bizRules")
)
_REPORT = _open(
    {"type": _word(MEASUREMENT), "exception": _word(ALERT), "time": _time, "component": _word(COMPONENT)}
    | _all(
        judge_uri,
        """deviceID deviceMetadata rawData dataProcessingMethod microorganism chemicalSubstance uriValue
        coordinateReferenceSystem bizRules""",
    )
    | _all(_number, "value minValue maxValue meanValue sDev percRank percValue")
    | {"stringValue": judge_text, "booleanValue": _truth}
    | {"hexBinaryValue": _formed(_HEX, "hex"), "uom": judge_text},
    "type",
)
_SENSOR = _open({"sensorMetadata": _METADATA, "sensorReport": _many(_REPORT, least=1)}, "sensorReport")

#: Members of every event.
COMMON: Mapping[str, Check] = {
    "type": judge_text,
    "eventTime": _past,
    "eventTimeZoneOffset": _offset,
    "eventID": judge_uri,
    "recordTime": _time,
    "certificationInfo": _certification,
    "errorDeclaration": _open(
        {"declarationTime": _past, "reason": _word(ERROR_REASON), "correctiveEventIDs": _URIS},
        "declarationTime",
    ),
}
#: Members that some types of event have.
MEMBERS: Mapping[str, Check] = {
    "action": _action,
    "bizStep": _word(BIZ_STEP),
    "disposition": _word(DISPOSITION),
    "persistentDisposition": _persistent,
    "readPoint": _PLACE,
    "bizLocation": _PLACE,
    **_all(_many(judge_uri, unique=True), "epcList childEPCs inputEPCList outputEPCList"),
    **_all(_many(_QUANTITY), "quantityList childQuantityList inputQuantityList outputQuantityList"),
    "parentID": judge_uri,
    "transformationID": judge_uri,
    "bizTransactionList": _many(
        _closed({"type": _word(BIZ_TRANSACTION), "bizTransaction": judge_uri}, "bizTransaction")
    ),
    "sourceList": _many(_closed({"type": _word(PARTY_ROLE), "source": judge_uri}, "type", "source")),
    "destinationList": _many(
        _closed({"type": _word(PARTY_ROLE), "destination": judge_uri}, "type", "destination")
    ),
    "sensorElementList": _many(_SENSOR),
    "ilmd": _open({}),
}
