import json

import pytest
from epcis_event_hash_generator import dl_normaliser, hash_generator, json_to_py
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from node.flow.events.contexts import Context, resolve
from node.flow.events.document import read_document, write
from node.flow.events.faults import ROOT, Sink
from node.flow.events.gs1_keys import canonical
from node.flow.events.hashing import event_hash, pre_hash
from tests.unit.node.flow.events.documents import CONTEXT, EVENTS, NOW, a_document, an_event, judged

EXAMPLE = b"""{"@context":["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",{"hz":"https://ns.test/hz/"}],
"type":"ObjectEvent","eventID":"urn:test:1","eventTime":"2026-03-02T08:15:30.1236+08:00","eventTimeZoneOffset":"+08:00",
"action":"OBSERVE","bizStep":"departing","epcList":["https://a.test/88.1.2/obj/T7","https://a.test/88.1.2/obj/T12"],
"quantityList":[{"epcClass":"https://a.test/88.1.2/class/B1","quantity":21.50,"uom":"TNE"}],
"bizTransactionList":[{"type":"bol","bizTransaction":"https://a.test/88.1.2/bt/W9"}],
"destinationList":[{"type":"possessing_party","destination":"https://b.test/88.1.3/pty/C"}],"hz:axles":6}"""
PRE_HASH = (
    "eventType=ObjectEventeventTime=2026-03-02T00:15:30.124ZeventTimeZoneOffset=+08:00"
    "epcListepc=https://a.test/88.1.2/obj/T12epc=https://a.test/88.1.2/obj/T7"
    "quantityListquantityElementepcClass=https://a.test/88.1.2/class/B1quantity=21.5uom=TNE"
    "action=OBSERVEbizStep=https://ref.gs1.org/cbv/BizStep-departing"
    "bizTransactionListtype=https://ref.gs1.org/cbv/BTT-bolbizTransaction=https://a.test/88.1.2/bt/W9"
    "destinationListtype=https://ref.gs1.org/cbv/SDT-possessing_partydestination=https://b.test/88.1.3/pty/C"
    "{https://ns.test/hz/}axles=6"
)


def context_of(written=CONTEXT):
    sink = Sink(1)
    made = resolve(written, (ROOT, "@context"), sink)
    assert not sink.faults
    return made


def hashed(**members):
    return pre_hash(judged(a_document(an_event(**members))).events[0].content, context_of())


def by_the_reference(document):
    """The pre-hash texts by the public Python implementation; it keeps prefixes from one document to the next."""
    json_to_py._namespaces.clear()
    return hash_generator.derive_prehashes_from_events(
        json_to_py.event_list_from_epcis_document_json(document)
    )


def test_the_published_example_has_the_published_text_and_hash():
    event = read_document(EXAMPLE, now=NOW).events[0]
    context = context_of(json.loads(EXAMPLE)["@context"])
    text = pre_hash(event.content, context)
    assert text == PRE_HASH
    assert len(text) == 529
    assert event.hash == (
        "ni:///sha-256;34fe9bfffb40c63f7bfa4f70cd60446584897ef4302b96ae13baae418b4a120f?ver=CBV2.0"
    )
    assert event_hash(event.content, context, order="table").startswith("ni:///sha-256;0a3bfc95")


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(EVENTS)
def test_every_event_hashes_as_by_the_public_reference(event):
    """Corners of the reference that the generator stays out of; each is told in a test below or in the module.

    The order of members in a pair; pairs without a type; the fourth decimal of a second at 5; floats past 2^53 or
    written with an exponent; `true`; `bizRules` of a report; plain texts equal to a word of the vocabulary; null,
    empty own values and arrays inside arrays; own lists named `…List`; own members of a part under a namespace
    without a slash at its end, or named like a field; prefixes that the EPCIS context itself declares.
    """
    document = a_document(event)
    data = write(document)
    read = read_document(data, now=NOW)
    assert read.all_faults == ()
    assert [pre_hash(read.events[0].content, read.context)] == by_the_reference(json.loads(data))


_PREFIX_AND_ITEM = st.integers(6, 12).flatmap(
    lambda n: st.tuples(
        st.integers(0, 10**n - 1).map(lambda v: f"{v:0{n}d}"),
        st.integers(0, 10**13).map(lambda v: f"{v:013d}"),
    )
)
_SERIAL = st.one_of(
    st.text("AZaz09-._", min_size=1, max_size=16), st.sampled_from(["*", "a%2Fb", "x(1)", "0", "32", "%00"])
)
_SCHEMES = {
    "id:sgtin": 13, "id:upui": 13, "class:lgtin": 13, "idpat:sgtin": 13, "idpat:upui": 13, "id:sgln": 12,
    "id:grai": 12, "idpat:grai": 12, "id:gdti": 12, "idpat:gdti": 12, "id:sgcn": 12, "idpat:sgcn": 12,
}  # fmt: skip
_PLAIN_SCHEMES = {"id:sscc": 17, "id:gsrn": 17, "id:gsrnp": 17, "id:gsin": 16, "id:pgln": 12}


@settings(max_examples=400)
@given(_PREFIX_AND_ITEM, st.sampled_from(sorted(_SCHEMES)), _SERIAL)
def test_a_serialised_key_is_spelled_as_by_the_public_reference(parts, scheme, serial):
    prefix, digits = parts
    item = digits[: _SCHEMES[scheme] - len(prefix)]
    # behind a prefix of twelve digits the reference asks for one dot too many of these
    assume(item or scheme in {"id:sgln", "id:gdti", "id:sgcn"})
    urn = f"urn:epc:{scheme}:{prefix}.{item}.{serial}"
    assert canonical(urn) == (dl_normaliser.normaliser(urn) or urn)


@settings(max_examples=200)
@given(_PREFIX_AND_ITEM, st.sampled_from(sorted(_PLAIN_SCHEMES)), st.sampled_from([0, 0, 0, 1]))
def test_a_key_without_serial_is_spelled_as_by_the_public_reference(parts, scheme, more):
    prefix, digits = parts
    urn = f"urn:epc:{scheme}:{prefix}.{digits[: max(_PLAIN_SCHEMES[scheme] - len(prefix) + more, 0)]}"
    assert canonical(urn) == (dl_normaliser.normaliser(urn) or urn)


@pytest.mark.parametrize(
    "uri",
    [
        "urn:epc:id:giai:4012345.A-7.x",
        "urn:epc:id:ginc:4012345.xyz47%2F11",
        "urn:epc:id:cpi:4012345.5PQ7%2FZ43.12345",
        "urn:epc:idpat:cpi:4012345.5PQ7%2FZ43.*",
        "urn:epc:id:itip:4012345.012345.01.02.987",
        "urn:epc:idpat:itip:4012345.012345.01.02.*",
        "urn:epc:id:imovn:9176187",
        "urn:epc:id:cpi:4012345.5PQ7%2FZ43.1234567890123",
        "urn:epc:id:cpi:4012345.abc.1",
        "urn:epc:id:itip:4012345.012345.1.02.987",
        "urn:epc:id:itip:4012345.01234.01.02.987",
        "urn:epc:id:itip:4012345.012345.01.02",
        "urn:epc:id:giai:4012345.",
        "urn:epc:id:gdti:4012345.1x345.7",
        "https://shop.test/a/01",
        "https://shop.test/party/info/01/04012345123456/10/L",
        "https://shop.test/gtin/4012x",
        "urn:epc:id:sgtin:4012345.012345",
        "urn:epc:id:sgtin:40123456.012345.7",
        "https://id.gs1.org/01/04012345123456",
        "http://shop.test/a/gtin/4012345123456/lot/L1/ser/S2?exp=261122",
        "https://shop.test/01/04012345123456/22/V/10/L1",
        "https://shop.test/01/04012345123456/22/V",
        "https://shop.test/01/40123455/21/S",
        "https://shop.test/01/401234512345/10/L",
        "https://shop.test/01/04012345123456/10/L1/21/S2/99/x",
        "https://shop.test/01/04012345123456/235/T",
        "https://shop.test/414/4012345000009/254/dock-3",
        "https://shop.test/gln/4012345000009",
        "https://shop.test/party/4012345000009?linkType=x",
        "https://shop.test/00/340123450000000018",
        "https://shop.test/sscc/34012345000000001",
        "https://shop.test/8003/04012345123456x7",
        "https://shop.test/giai/4012345ABC",
        "https://shop.test/8006/040123451234560102/21/9",
        "https://shop.test/8010/4012345PQ/8011/77",
        "https://shop.test/255/40123450000091234",
        "https://shop.test/253/4012345000009A",
        "https://shop.test/402/40123450000000009",
        "https://shop.test/8018/401234500000000009",
        "https://shop.test/01/04012345123456/10/a%2Fb",
        "https://shop.test/01/04012345123456/",
        "https://shop.test/01/12",
        "https://a.test/88.1.2/obj/T7",
        "https://localhost/01/04012345123456",
        "plain text",
    ],
)
def test_a_link_or_urn_is_spelled_as_by_the_public_reference(uri):
    assert canonical(uri) == (dl_normaliser.normaliser(uri) or uri)


def test_the_fifth_in_the_fourth_decimal_goes_up_also_over_the_second():
    assert "eventTime=2026-03-02T00:00:00.123Z" in hashed(eventTime="2026-03-02T00:00:00.1225Z")
    assert "eventTime=2026-03-03T00:00:00.000Z" in hashed(eventTime="2026-03-02T23:59:59.9995Z")


def test_the_order_of_members_in_a_pair_makes_no_difference():
    pair = {"type": "bol", "bizTransaction": "urn:test:w"}
    turned = dict(reversed(pair.items()))
    assert hashed(bizTransactionList=[pair]) == hashed(bizTransactionList=[turned])


def test_a_pair_may_lack_its_type():
    assert hashed(bizTransactionList=[{"bizTransaction": "urn:test:w"}]).endswith(
        "bizTransactionListbizTransaction=urn:test:w"
    )


def test_truth_is_written_as_json_does():
    assert hashed(**{"hz:full": True, "hz:sealed": False}).endswith(
        "{https://ns.test/hz/}full=true{https://ns.test/hz/}sealed=false"
    )


def test_the_rules_of_a_report_close_the_report():
    element = {"sensorReport": [{"type": "Mass", "bizRules": "urn:test:r", "uom": "KGM"}]}
    assert "sensorReporttype=https://gs1.org/voc/Massuom=KGMbizRules=urn:test:r" in hashed(
        sensorElementList=[element]
    )


def test_a_plain_text_equal_to_a_word_stays_plain():
    assert hashed(bizStep="departing", **{"hz:remark": "departing"}).endswith(
        "{https://ns.test/hz/}remark=departing"
    )


@pytest.mark.parametrize("nothing", [None, "", " ", {}, [], [""], {"hz:x": None}])
def test_an_empty_own_member_is_left_out(nothing):
    event = an_event()
    event["hz:none"] = nothing
    content = judged(a_document(event)).events[0].content
    assert pre_hash(content, context_of()) == hashed()


def test_numbers_keep_every_digit_that_counts():
    data = write(a_document(an_event(quantityList=[{"epcClass": "urn:test:b", "quantity": 0}])))
    exact = data.replace(b'"quantity":0', b'"quantity":9007199254740993.00000010')
    event = read_document(exact, now=NOW).events[0]
    assert "quantity=9007199254740993.0000001action" in pre_hash(event.content, context_of())


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("007.50", "7.5"),
        ("+5", "5"),
        ("-0.0", "0"),
        ("1E3", "1000"),
        ("1E999", "1E999"),
        ("1_000", "1_000"),
        ("inf", "inf"),
    ],
)
def test_numeric_texts_are_spelled_as_numbers_and_others_stay(written, plain):
    assert hashed(**{"hz:x": written}).endswith(f"{{https://ns.test/hz/}}x={plain}")


def test_what_says_nothing_about_what_happened_is_left_out():
    assert hashed() == hashed(
        eventID="urn:test:1",
        recordTime="2026-03-02T00:00:00Z",
        errorDeclaration={"declarationTime": "2026-03-03T00:00:00Z", "reason": "incorrect_data"},
        **{"rdfs:comment": "for people"},
    )


@pytest.mark.parametrize(
    "spelling",
    ["departing", "https://ref.gs1.org/cbv/BizStep-departing", "cbv:BizStep-departing", " departing "],
)
def test_a_word_hashes_alike_in_every_spelling(spelling):
    assert pre_hash(an_event(bizStep=spelling), context_of()) == hashed(bizStep="departing")


def test_the_older_urn_of_a_word_hashes_like_the_word():
    assert pre_hash(an_event(bizStep="urn:epcglobal:cbv:bizstep:departing"), context_of()) == hashed(
        bizStep="departing"
    )
    assert "Disp-anew" in pre_hash(an_event(disposition="urn:epcglobal:cbv:disp:anew"), context_of())


def test_another_urn_of_the_vocabulary_stays():
    assert hashed(bizTransactionList=[{"bizTransaction": "urn:epcglobal:cbv:bt:4012345000009:A1"}]).endswith(
        "bizTransaction=urn:epcglobal:cbv:bt:4012345000009:A1"
    )


def test_the_name_of_a_prefix_makes_no_difference():
    one = pre_hash(an_event(**{"hz:axles": 6}), Context({"hz": "https://ns.test/hz/"}))
    other = pre_hash(an_event(**{"q:axles": 6}), Context({"q": "https://ns.test/hz/"}))
    assert one == other


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_order_of_members_and_items_makes_no_difference(event, shuffle):
    def turned(value):
        if isinstance(value, dict):
            members = list(value.items())
            shuffle.shuffle(members)
            return {name: turned(item) for name, item in members}
        if isinstance(value, list):
            items = [turned(item) for item in value]
            shuffle.shuffle(items)
            return items
        return value

    first, second = (read_document(write(a_document(one)), now=NOW) for one in (event, turned(event)))
    for order in ("reference", "table"):
        texts = [pre_hash(read.events[0].content, read.context, order=order) for read in (first, second)]
        assert texts[0] == texts[1]


def test_in_table_order_the_list_of_things_comes_first_and_types_come_last():
    content = an_event(
        type="TransactionEvent",
        parentID="urn:test:p",
        certificationInfo="urn:test:c",
        bizTransactionList=[{"type": "bol", "bizTransaction": "urn:test:w"}],
        sensorElementList=[{"sensorReport": [{"type": "Mass"}]}],
    )
    text = pre_hash(content, context_of(), order="table")
    assert text.index("epcList") < text.index("parentID=") < text.index("action=")
    assert text.index("bizTransaction=urn:test:wtype=") < text.index("sensorElementList")
    assert "certificationInfo" not in text
