"""The CBV 2.0 event hash: the same event gets the same hash, whoever writes it down and however.

Rules (the project's facts file on traceability, section 5; CBV 2.0 section 8.9):

- `ni:///sha-256;` + SHA-256 of the pre-hash text + `?ver=CBV2.0`;
- the pre-hash text is `key=value` without separators in a fixed order; what is absent or empty is left out, and so
  are `eventID`, `recordTime`, `errorDeclaration`, `@context` and comments;
- list items are sorted as finished texts, by code point;
- words of the vocabulary are written out by the field they stand in, CURIEs by the context, GS1 keys as canonical
  links, times in UTC with milliseconds, numbers without needless digits.

Two orders: `reference`, what the public Python implementation emits (the default, so that two parties agree), and
`table`, the order as CBV 2.0 prints it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal

from node.flow.events.contexts import Context
from node.flow.events.gs1_keys import canonical
from node.flow.events.moments import milliseconds
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
)

__all__ = ["Order", "event_hash", "pre_hash"]

Order = Literal["reference", "table"]
_Emit = Callable[[str, Any, Context], str]

_NUMERIC = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,3}))?")
#: A text with a larger exponent is no number that anybody wrote.
_EXPONENT = 308
_OLD_WORDS = tuple(
    (words.urn, words.uri) for words in (BIZ_STEP, DISPOSITION, BIZ_TRANSACTION, PARTY_ROLE, ERROR_REASON)
)
_LEFT_OUT = frozenset({"type", "eventID", "recordTime", "errorDeclaration", "@context"})
_COMMENTS = frozenset({"comment", "rdfs:comment", "http://www.w3.org/2000/01/rdf-schema#comment"})


def event_hash(content: Mapping[str, Any], context: Context, *, order: Order = "reference") -> str:
    """Return the hash of a validated event, as a `ni` URI."""
    text = pre_hash(content, context, order=order)
    return f"ni:///sha-256;{hashlib.sha256(text.encode()).hexdigest()}?ver=CBV2.0"


def pre_hash(content: Mapping[str, Any], context: Context, *, order: Order = "reference") -> str:
    """Return the text that is hashed."""
    parts = [f"eventType={context.expand(content['type'])}"]
    for name, emit in _REFERENCE if order == "reference" else _TABLE:
        value = content.get(name)
        if value is not None:
            parts.append(emit(name, value, context))
    own = _own_members(content, _ORDERED, context)
    if order == "reference":
        own += [emit(name, content[name], context) for name, emit in _TAIL if name in content]
    own.sort()
    return "".join(parts + own)


def _scalar(value: object, context: Context) -> str:
    if isinstance(value, str):
        return _text(value, context)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return _plain(value)
    return "" if value is None else str(value)


def _text(written: str, context: Context) -> str:
    text = written.strip()
    if ":" in text:
        text = context.expand(text)
        if text.startswith("urn:epcglobal:cbv:"):
            for urn, uri in _OLD_WORDS:
                if urn is not None and text.startswith(urn):
                    return uri + text[len(urn) :]
        return canonical(text)
    number = _NUMERIC.fullmatch(text)
    if number is not None and abs(int(number[1] or 0)) <= _EXPONENT:
        return _plain(Decimal(text))
    return text


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _simple(name: str, value: object, context: Context) -> str:
    text = _scalar(value, context)
    return f"{name}={text}" if text else ""


def _time(name: str, value: str, _: Context) -> str:
    return f"{name}={milliseconds(value.strip())}"


def _word(words: WordList) -> _Emit:
    def emit(name: str, value: str, context: Context) -> str:
        written = value.strip()
        return _simple(name, words.expanded(context.expand(written)), context) if written else ""

    return emit


def _repeated(name: str, value: object, context: Context) -> str:
    items = value if isinstance(value, list) else [value]
    return "".join(sorted(_simple(name, item, context) for item in items))


def _named(name: str, items: list[str]) -> str:
    items.sort()
    whole = "".join(items)
    return name + whole if whole else ""


def _epcs(name: str, value: list[str], context: Context) -> str:
    return _named(name, [_simple("epc", item, context) for item in value])


def _quantities(name: str, value: list[Mapping[str, Any]], context: Context) -> str:
    items = []
    for element in value:
        whole = "".join(
            _simple(key, element[key], context) for key in ("epcClass", "quantity", "uom") if key in element
        )
        items.append(f"quantityElement{whole}" if whole else "")
    return _named(name, items)


def _dispositions(name: str, value: Mapping[str, list[str]], context: Context) -> str:
    word = _word(DISPOSITION)
    whole = "".join(
        _named("", [word(key, item, context) for item in value.get(key, ())]) for key in ("set", "unset")
    )
    return name + whole if whole else ""


def _place(name: str, value: Mapping[str, Any], context: Context) -> str:
    whole = _simple("id", value.get("id"), context) + "".join(sorted(_own_members(value, _PLACE, context)))
    return name + whole if whole else ""


def _fields(order: Mapping[str, _Emit]) -> _Emit:
    def emit(name: str, value: Mapping[str, Any], context: Context) -> str:
        whole = "".join(one(key, value[key], context) for key, one in order.items() if key in value)
        whole += "".join(sorted(_own_members(value, order, context)))
        return name + whole if whole else ""

    return emit


def _reports(name: str, value: list[Mapping[str, Any]], context: Context) -> str:
    return _named("", [_report(name, item, context) for item in value])


def _sensors(name: str, value: list[Mapping[str, Any]], context: Context) -> str:
    return _named(name, [_sensor("sensorElement", item, context) for item in value])


def _pairs(key: str, words: WordList, *, type_last: bool = False) -> _Emit:
    word = _word(words)

    def emit(name: str, value: list[Mapping[str, Any]], context: Context) -> str:
        items = []
        for pair in value:
            kind = word("type", pair["type"], context) if "type" in pair else ""
            target = _simple(key, pair[key], context)
            items.append(target + kind if type_last else kind + target)
        return _named(name, items)

    return emit


def _ilmd(name: str, value: Mapping[str, Any], context: Context) -> str:
    return _named(name, _own_members(value, {}, context))


def _own_members(
    content: Mapping[str, Any], known: Mapping[str, Any] | frozenset[str], context: Context
) -> list[str]:
    """Return the texts of the members that the standard does not name; array items repeat the key."""
    made: list[str] = []
    for name, value in content.items():
        if name in known or name in _COMMENTS:
            continue
        prefix, colon, local = name.partition(":")
        namespace = context.prefixes.get(prefix) if colon else None
        _own(f"{{{namespace}}}{local}" if namespace is not None else name, value, context, made)
    return made


def _own(key: str, value: object, context: Context, made: list[str]) -> None:
    if isinstance(value, Mapping):
        inner = "".join(sorted(_own_members(value, {}, context)))
        if inner:
            made.append(key + inner)
    elif isinstance(value, list):
        for item in value:
            _own(key, item, context, made)
    else:
        text = _scalar(value, context)
        if text:
            made.append(f"{key}={text}")


def _all(kind: _Emit, names: str) -> dict[str, _Emit]:
    return dict.fromkeys(names.split(), kind)


_PLACE = frozenset({"id"})
_METADATA_FIELDS = {
    **_all(_time, "time startTime endTime"),
    **_all(_simple, "deviceID deviceMetadata rawData dataProcessingMethod bizRules"),
}
_REPORT_FIELDS = {
    "type": _word(MEASUREMENT),
    "exception": _word(ALERT),
    **_all(_simple, "deviceID deviceMetadata rawData dataProcessingMethod"),
    "time": _time,
    **_all(_simple, "microorganism chemicalSubstance value"),
    "component": _word(COMPONENT),
    **_all(
        _simple,
        """stringValue booleanValue hexBinaryValue uriValue minValue maxValue meanValue sDev percRank percValue uom
        coordinateReferenceSystem bizRules""",
    ),
}
_report = _fields(_REPORT_FIELDS)
_sensor = _fields({"sensorMetadata": _fields(_METADATA_FIELDS), "sensorReport": _reports})

_HEAD: dict[str, _Emit] = {"eventTime": _time, "eventTimeZoneOffset": _simple}
_MIDDLE: dict[str, _Emit] = {
    "inputEPCList": _epcs,
    "childEPCs": _epcs,
    **_all(_quantities, "quantityList childQuantityList inputQuantityList"),
    "outputEPCList": _epcs,
    "outputQuantityList": _quantities,
    **_all(_simple, "action transformationID"),
    "bizStep": _word(BIZ_STEP),
    "disposition": _word(DISPOSITION),
    "persistentDisposition": _dispositions,
    **_all(_place, "readPoint bizLocation"),
}
_REFERENCE = tuple(
    (
        _HEAD
        | {"certificationInfo": _repeated, "parentID": _simple, "epcList": _epcs}
        | _MIDDLE
        | {"sensorElementList": _sensors}
    ).items()
)
_TABLE = tuple(
    (
        _HEAD
        | {"epcList": _epcs, "parentID": _simple}
        | _MIDDLE
        | {
            "bizTransactionList": _pairs("bizTransaction", BIZ_TRANSACTION, type_last=True),
            "sourceList": _pairs("source", PARTY_ROLE, type_last=True),
            "destinationList": _pairs("destination", PARTY_ROLE, type_last=True),
            "sensorElementList": _sensors,
            "ilmd": _ilmd,
        }
    ).items()
)
#: In the reference these stand behind all others, sorted together with the own members.
_TAIL = (
    ("bizTransactionList", _pairs("bizTransaction", BIZ_TRANSACTION)),
    ("destinationList", _pairs("destination", PARTY_ROLE)),
    ("ilmd", _ilmd),
    ("sourceList", _pairs("source", PARTY_ROLE)),
)
_ORDERED = _LEFT_OUT | {"certificationInfo"} | {name for name, _ in (*_REFERENCE, *_TABLE)}
