"""Events of every type, made by hypothesis, and the documents around them."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies as st

from node.flow.events.contexts import EPCIS_CONTEXT
from node.flow.events.document import read_document, write
from node.flow.events.vocabulary import (
    ALERT,
    BIZ_STEP,
    BIZ_TRANSACTION,
    COMPONENT,
    DISPOSITION,
    ERROR_REASON,
    MEASUREMENT,
    PARTY_ROLE,
)

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
PREFIXES = {"hz": "https://ns.test/hz/", "eq": "https://ns.test/equipment/"}
CONTEXT = [EPCIS_CONTEXT, PREFIXES]


def a_document(*events, **members):
    """A document around events; `members` replace or add members of its frame, None takes one away."""
    made = {
        "@context": CONTEXT,
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-03-02T08:15:30+08:00",
        "epcisBody": {"eventList": list(events)},
        **members,
    }
    return {name: value for name, value in made.items() if value is not None}


def an_event(**members):
    """A small valid event; `members` replace or add members, None takes one away."""
    made = {
        "type": "ObjectEvent",
        "eventTime": "2026-03-02T08:15:30+08:00",
        "eventTimeZoneOffset": "+08:00",
        "action": "OBSERVE",
        "epcList": ["https://a.test/88.1.2/obj/T7"],
        **members,
    }
    return {name: value for name, value in made.items() if value is not None}


def judged(content, **options):
    """Read a document given as Python values."""
    return read_document(write(content), now=NOW, **options)


def faults(content, **options):
    """The faults of a document, as (pointer, name)."""
    return [(fault.pointer, fault.name) for fault in judged(content, **options).all_faults]


_NAMES = st.text("ABCdefg0123456789.-_", min_size=1, max_size=8)
_FREE = st.builds("note {}".format, st.text("abc xyz,./中文é-:", max_size=12))
#: The last one of each is a GS1 key, which the hash spells as a canonical link.
URIS = st.one_of(
    st.builds("https://a.test/88.1.2/obj/{}".format, _NAMES),
    st.builds("urn:test:{}".format, _NAMES),
    st.builds("hdl:88.1.2/{}".format, _NAMES),
    st.builds("hz:{}".format, _NAMES),
    st.builds(
        "urn:epc:id:sgtin:4012345.0{:05d}.{}".format,
        st.integers(0, 99999),
        _NAMES.filter(lambda n: n.isalnum()),
    ),
    st.builds("https://brand.test/x/01/{:014d}/10/{}".format, st.integers(10**12, 10**14 - 1), _NAMES),
)
CLASSES = st.one_of(st.builds("https://a.test/88.1.2/class/{}".format, _NAMES), URIS)
#: Up to twelve digits, not tiny: what a binary float says without an exponent.
NUMBERS = st.builds(lambda n, places: Decimal(n).scaleb(-places), st.integers(0, 10**9), st.integers(0, 3))
SIGNED = st.builds(lambda n, minus: -n if minus else n, NUMBERS, st.booleans())
_CLOCK = "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}{}{}"
TIMES = st.builds(
    _CLOCK.format,
    st.integers(1990, 2025),
    st.integers(1, 12),
    st.integers(1, 28),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.sampled_from(["", ".1", ".120", ".123", ".1234", ".000001", ".9991", ".5006"]),
    st.sampled_from(["Z", "+08:00", "-03:30", "+14:00", "+00:00"]),
)
OFFSETS = st.sampled_from(["+08:00", "-03:30", "+00:00", "+14:00", "-13:59"])


def words(vocabulary):
    return st.one_of(
        st.sampled_from(sorted(vocabulary.words)),
        st.builds("https://own.test/word/{}".format, _NAMES),
    )


def full_words(vocabulary):
    return st.one_of(words(vocabulary), st.sampled_from(sorted(vocabulary.words)).map(vocabulary.uri.__add__))


def lists(items, least=0, most=3, **options):
    return st.lists(items, min_size=least, max_size=most, **options)


_SCALARS = st.one_of(_FREE, SIGNED, st.sampled_from(["007.50", "+5", "1E3", "12.", "-0"]), URIS, TIMES)
_OWN_NAMES = st.sampled_from(["hz:axles", "hz:seal", "eq:tank", "eq:lining", "https://own.test/name"])


def own(values):
    return st.dictionaries(_OWN_NAMES, values, max_size=3)


#: Own values as deep as two objects.
OWN = own(
    st.one_of(
        _SCALARS,
        lists(_SCALARS, 1),
        st.dictionaries(_OWN_NAMES, st.one_of(_SCALARS, lists(_SCALARS, 1)), min_size=1, max_size=2),
        lists(st.dictionaries(_OWN_NAMES, _SCALARS, min_size=1, max_size=2), 1, 2),
    )
)
#: Own members beside those of a part: the reference takes only names under a namespace that ends in a slash there.
OWN_IN_PARTS = st.dictionaries(_OWN_NAMES.filter(lambda n: n[:3] in ("hz:", "eq:")), _SCALARS, max_size=2)


def some(required=None, **optional):
    return st.fixed_dictionaries(required or {}, optional=optional)


def joined(*parts):
    return st.builds(lambda *each: {k: v for one in each for k, v in one.items()}, *parts)


QUANTITIES = some(
    {"epcClass": CLASSES}, quantity=NUMBERS, uom=st.sampled_from(["KGM", "TNE", "LTR", "H87", "4G", "2U"])
)
PLACES = joined(some({"id": st.one_of(URIS, st.just("geo:39.9,116.4"))}), OWN_IN_PARTS)
_META = dict.fromkeys(("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules"), URIS)
_EARLY = st.sampled_from(["1980-01-01T00:00:00Z", "1985-06-01T12:00:00.250+08:00"])
METADATA = joined(some({"time": _EARLY}, startTime=_EARLY, endTime=_EARLY, **_META), OWN_IN_PARTS)
REPORTS = joined(
    some(
        {"type": words(MEASUREMENT)},
        exception=words(ALERT),
        deviceID=URIS,
        rawData=URIS,
        time=TIMES,
        microorganism=URIS,
        chemicalSubstance=st.just("https://identifiers.org/inchikey:XLYOFNOQVPJJNP-UHFFFAOYSA-N"),
        value=SIGNED,
        component=words(COMPONENT),
        stringValue=_FREE,
        hexBinaryValue=st.sampled_from(["f0F0", "0012", "1e3"]),
        uriValue=URIS,
        minValue=SIGNED,
        maxValue=SIGNED,
        meanValue=SIGNED,
        sDev=NUMBERS,
        percRank=NUMBERS,
        percValue=SIGNED,
        uom=st.sampled_from(["CEL", "A93"]),
        coordinateReferenceSystem=URIS,
    ),
    OWN_IN_PARTS,
)
SENSORS = joined(some({"sensorReport": lists(REPORTS, 1, 2)}, sensorMetadata=METADATA), OWN_IN_PARTS)


def _pairs(name, vocabulary):
    """The type is written first: the reference takes a pair in the order of the document."""
    return st.builds(lambda kind, value: {"type": kind, name: value}, full_words(vocabulary), URIS)


_EPCS = lists(URIS, unique=True)
_FILLED = lists(URIS, 1, unique=True)
_EVERYWHERE = {
    "eventID": URIS.filter(lambda u: not u.startswith("hz:")),
    "recordTime": TIMES,
    "certificationInfo": st.one_of(URIS, lists(URIS, 1, unique=True)),
    "bizStep": words(BIZ_STEP),
    "disposition": words(DISPOSITION),
    "persistentDisposition": some(
        {"set": lists(words(DISPOSITION), 1, unique=True)}, unset=lists(words(DISPOSITION), 1, unique=True)
    ),
    "readPoint": PLACES,
    "bizLocation": PLACES,
    "sourceList": lists(_pairs("source", PARTY_ROLE)),
    "destinationList": lists(_pairs("destination", PARTY_ROLE)),
    "sensorElementList": lists(SENSORS, most=2),
    "errorDeclaration": some(
        {"declarationTime": TIMES}, reason=words(ERROR_REASON), correctiveEventIDs=_EPCS
    ),
}
_DEALS = lists(_pairs("bizTransaction", BIZ_TRANSACTION))
_ACTIONS = st.sampled_from(["OBSERVE", "ADD", "DELETE"])
_QUANTITY_LISTS = lists(QUANTITIES)


def _kind(name, required, optional):
    always = {"type": st.just(name), "eventTime": TIMES, "eventTimeZoneOffset": OFFSETS}
    return joined(some({**always, **required}, **_EVERYWHERE, **optional), OWN)


OBJECT = _kind(
    "ObjectEvent",
    {"action": st.just("ADD"), "epcList": _FILLED},
    {"quantityList": _QUANTITY_LISTS, "ilmd": OWN.filter(bool), "bizTransactionList": _DEALS},
)
AGGREGATION = _kind(
    "AggregationEvent",
    {"action": _ACTIONS, "parentID": URIS, "childEPCs": _FILLED},
    {"childQuantityList": _QUANTITY_LISTS, "bizTransactionList": _DEALS},
)
ASSOCIATION = _kind(
    "AssociationEvent",
    {"action": _ACTIONS, "parentID": URIS, "childQuantityList": lists(QUANTITIES, 1)},
    {"childEPCs": _EPCS, "bizTransactionList": _DEALS},
)
TRANSACTION = _kind(
    "TransactionEvent",
    {
        "action": _ACTIONS,
        "quantityList": lists(QUANTITIES, 1),
        "bizTransactionList": lists(_pairs("bizTransaction", BIZ_TRANSACTION), 1),
    },
    {"epcList": _EPCS, "parentID": URIS},
)
TRANSFORMATION = _kind(
    "TransformationEvent",
    {"inputQuantityList": lists(QUANTITIES, 1), "outputQuantityList": lists(QUANTITIES, 1)},
    {
        "inputEPCList": _EPCS,
        "outputEPCList": _EPCS,
        "transformationID": URIS,
        "ilmd": OWN.filter(bool),
        "bizTransactionList": _DEALS,
    },
)
OWN_KIND = _kind("https://own.test/event/Weighing", {}, {"epcList": _EPCS, "bizTransactionList": _DEALS})
EVENTS = st.one_of(OBJECT, AGGREGATION, ASSOCIATION, TRANSACTION, TRANSFORMATION, OWN_KIND)
