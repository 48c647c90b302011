import json
from datetime import timedelta
from decimal import Decimal

import pytest

from node.flow.events.contexts import EPCIS_CONTEXT
from node.flow.events.document import Limits, read_document, write
from node.flow.events.event import Quantity
from node.flow.events.faults import DocumentError
from registry.errors import LimitError, MalformedError
from tests.unit.node.flow.events.documents import (
    CONTEXT,
    NOW,
    a_document,
    an_event,
    faults,
    judged,
)

SOME = [{"epcClass": "urn:test:b", "quantity": 1, "uom": "KGM"}]
REPORT = {"type": "Temperature", "value": 20, "uom": "CEL"}
PAIR = {"type": "bol", "bizTransaction": "urn:test:w"}


def of_event(**members):
    """The faults of a document of one event, from the event on."""
    return [
        (pointer.removeprefix("/epcisBody/eventList/0"), name)
        for pointer, name in faults(a_document(an_event(**members)))
    ]


def a_query_document(*events):
    return {
        "@context": CONTEXT,
        "type": "EPCISQueryDocument",
        "epcisBody": {"queryResults": {"queryName": "q", "resultsBody": {"eventList": list(events)}}},
    }


def test_the_three_kinds_of_documents_hold_the_same_event():
    event = an_event(**{"hz:axles": 6})
    kinds = (a_document(event), a_query_document(event), {"@context": CONTEXT, **event})
    read = [judged(content) for content in kinds]
    assert [document.all_faults for document in read] == [()] * 3
    assert [document.kind for document in read] == ["EPCISDocument", "EPCISQueryDocument", "ObjectEvent"]
    assert len({document.events[0].hash for document in read}) == 1
    assert read[0].entries[0].pointer == "/epcisBody/eventList/0"
    assert read[1].entries[0].pointer == "/epcisBody/queryResults/resultsBody/eventList/0"
    assert read[2].entries[0].pointer == ""


def test_the_parts_that_ledger_and_genealogy_read_come_out_plain():
    event = an_event(
        bizStep="https://ref.gs1.org/cbv/BizStep-departing",
        disposition="in_transit",
        quantityList=[
            {"epcClass": "urn:test:b", "quantity": Decimal("21.50"), "uom": "TNE"},
            {"epcClass": "urn:test:c"},
        ],
        readPoint={"id": "geo:39.9,116.4"},
        bizTransactionList=[PAIR, {"bizTransaction": "urn:test:v"}],
        sourceList=[{"type": "https://ref.gs1.org/cbv/SDT-owning_party", "source": "urn:test:p"}],
        errorDeclaration={
            "declarationTime": "2026-03-03T00:00:00Z",
            "reason": "incorrect_data",
            "correctiveEventIDs": ["urn:test:2"],
        },
        recordTime="2026-03-02T08:16:00+08:00",
    )
    (read,) = judged(a_document(event)).events
    assert read.event_id == read.hash
    assert read.time.isoformat() == "2026-03-02T00:15:30+00:00"
    assert (read.biz_step, read.disposition, read.read_point) == ("departing", "in_transit", "geo:39.9,116.4")
    assert read.quantities == (
        Quantity("urn:test:b", Decimal("21.50"), "TNE"),
        Quantity("urn:test:c", None, None),
    )
    assert str(read.quantities[0].quantity) == "21.50"
    assert read.transactions == (("bol", "urn:test:w"), (None, "urn:test:v"))
    assert read.sources == (("owning_party", "urn:test:p"),)
    assert read.declaration is not None
    assert read.declaration.reason == "incorrect_data"
    assert read.declaration.corrective_ids == ("urn:test:2",)
    assert read.record_time is not None
    assert read.context == CONTEXT


@pytest.mark.parametrize("name", ["type", "eventTime", "eventTimeZoneOffset", "action"])
def test_a_required_member_that_is_missing_is_named(name):
    found = judged(a_document(an_event(**{name: None}))).all_faults
    assert ("missing", name) in [(fault.name, fault.params.get("value")) for fault in found]


@pytest.mark.parametrize(
    ("members", "where", "name"),
    [
        ({"type": "Objectevent"}, "/type", "kind"),
        ({"type": 5}, "/type", "text"),
        ({"eventTime": "2026-03-02T08:15:30"}, "/eventTime", "instant"),
        ({"eventTime": "2026-02-30T08:15:30Z"}, "/eventTime", "instant"),
        ({"eventTime": "2026-03-02"}, "/eventTime", "instant"),
        ({"eventTime": "2026-03-02T23:59:60Z"}, "/eventTime", "instant"),
        ({"eventTime": "0001-01-01T00:00:00+08:00"}, "/eventTime", "instant"),
        ({"eventTime": 5}, "/eventTime", "instant"),
        ({"eventTimeZoneOffset": "+14:30"}, "/eventTimeZoneOffset", "offset"),
        ({"eventTimeZoneOffset": "08:00"}, "/eventTimeZoneOffset", "offset"),
        ({"eventID": "88.1.2/B1"}, "/eventID", "uri"),
        ({"recordTime": "yesterday"}, "/recordTime", "instant"),
        (
            {"sensorElementList": [{"sensorReport": [REPORT | {"value": "20"}]}]},
            "/sensorElementList/0/sensorReport/0/value",
            "number",
        ),
        ({"sourceList": [7]}, "/sourceList/0", "object"),
        ({"certificationInfo": ["urn:a:b", "no"]}, "/certificationInfo/1", "uri"),
        ({"action": "CHANGE"}, "/action", "action"),
        ({"bizStep": "departng"}, "/bizStep", "word"),
        ({"bizStep": "urn:epcglobal:cbv:bizstep:departing"}, "/bizStep", "reserved"),
        ({"bizStep": "https://ns.gs1.org/cbv/BizStep-departing"}, "/bizStep", "reserved"),
        ({"disposition": "departing"}, "/disposition", "word"),
        ({"persistentDisposition": {}}, "/persistentDisposition", "one_of"),
        ({"persistentDisposition": {"set": []}}, "/persistentDisposition/set", "empty"),
        ({"persistentDisposition": {"set": ["x"]}}, "/persistentDisposition/set/0", "word"),
        ({"persistentDisposition": {"set": ["active"], "hz:x": 1}}, "/persistentDisposition/hz:x", "closed"),
        ({"readPoint": "urn:test:p"}, "/readPoint", "object"),
        ({"readPoint": {}}, "/readPoint", "missing"),
        ({"bizLocation": {"id": "罐区"}}, "/bizLocation/id", "uri"),
        ({"bizLocation": {"id": "urn:test:a", "name": "x"}}, "/bizLocation/name", "member"),
        ({"epcList": "urn:test:a"}, "/epcList", "array"),
        ({"epcList": ["urn:test:a", "urn:test:a"]}, "/epcList/1", "repeated"),
        ({"epcList": ["a b"]}, "/epcList/0", "uri"),
        ({"epcList": [{}]}, "/epcList/0", "uri"),
        ({"quantityList": [{"quantity": 1}]}, "/quantityList/0", "missing"),
        ({"quantityList": [{"epcClass": "urn:a:b", "quantity": "1"}]}, "/quantityList/0/quantity", "number"),
        ({"quantityList": [{"epcClass": "urn:a:b", "quantity": True}]}, "/quantityList/0/quantity", "number"),
        ({"quantityList": [{"epcClass": "urn:a:b", "quantity": -1}]}, "/quantityList/0/quantity", "negative"),
        ({"quantityList": [{"epcClass": "urn:a:b", "uom": "kg"}]}, "/quantityList/0/uom", "uom"),
        ({"quantityList": [{"epcClass": "urn:a:b", "hz:x": 1}]}, "/quantityList/0/hz:x", "closed"),
        ({"bizTransactionList": [{"type": "bol"}]}, "/bizTransactionList/0", "missing"),
        ({"bizTransactionList": [PAIR | {"type": "invoice"}]}, "/bizTransactionList/0/type", "word"),
        ({"sourceList": [{"source": "urn:a:b"}]}, "/sourceList/0", "missing"),
        ({"destinationList": [{"type": "location", "destination": "x"}]}, "/destinationList/0/destination", "uri"),
        ({"sensorElementList": [{}]}, "/sensorElementList/0", "missing"),
        ({"sensorElementList": [{"sensorReport": []}]}, "/sensorElementList/0/sensorReport", "empty"),
        ({"sensorElementList": [{"sensorReport": [{}]}]}, "/sensorElementList/0/sensorReport/0", "missing"),
        (
            {"sensorElementList": [{"sensorReport": [REPORT | {"type": "https://gs1.org/voc/Temperature"}]}]},
            "/sensorElementList/0/sensorReport/0/type",
            "reserved",
        ),
        (
            {"sensorElementList": [{"sensorReport": [REPORT | {"hexBinaryValue": "0g"}]}]},
            "/sensorElementList/0/sensorReport/0/hexBinaryValue",
            "hex",
        ),
        (
            {"sensorElementList": [{"sensorReport": [REPORT | {"booleanValue": "true"}]}]},
            "/sensorElementList/0/sensorReport/0/booleanValue",
            "truth",
        ),
        (
            {"sensorElementList": [{"sensorReport": [REPORT | {"stringValue": 1}]}]},
            "/sensorElementList/0/sensorReport/0/stringValue",
            "text",
        ),
        (
            {"sensorElementList": [{"sensorReport": [REPORT], "sensorMetadata": {"time": "2026-03-02T00:15:31Z"}}]},
            "/sensorElementList/0/sensorMetadata/time",
            "sensed_later",
        ),
        ({"errorDeclaration": {}}, "/errorDeclaration", "missing"),
        (
            {"errorDeclaration": {"declarationTime": "2026-03-03T00:00:00Z", "reason": "typo"}},
            "/errorDeclaration/reason",
            "word",
        ),
        ({"ilmd": {"hz:x": 1}}, "/ilmd", "ilmd"),
        ({"ilmd": {"x": 1}, "action": "ADD"}, "/ilmd/x", "member"),
        ({"parentID": "urn:test:p"}, "/parentID", "member"),
        ({"axles": 6}, "/axles", "member"),
        ({"hx:axles": 6}, "/hx:axles", "prefix"),
        ({"hz:": 6}, "/hz:", "member"),
        ({"https://own test/x": 6}, "/https:~1~1own test~1x", "member"),
        ({"hz:load": [{"hx:axle": 1}]}, "/hz:load/0/hx:axle", "prefix"),
        ({"epcList": None}, "", "one_of_object"),
        ({"epcList": [], "quantityList": []}, "", "one_of_object"),
        ({"type": "TransactionEvent"}, "", "missing"),
        ({"type": "TransactionEvent", "bizTransactionList": []}, "/bizTransactionList", "empty"),
        ({"type": "TransactionEvent", "bizTransactionList": [PAIR], "epcList": None}, "", "one_of"),
        ({"type": "AggregationEvent", "action": "ADD", "epcList": None, "childQuantityList": SOME}, "", "missing"),
        ({"type": "AggregationEvent", "epcList": None}, "", "one_of"),
        ({"type": "AssociationEvent", "epcList": None, "childQuantityList": SOME}, "", "missing"),
        ({"type": "TransformationEvent", "epcList": None, "inputQuantityList": SOME, "outputQuantityList": SOME}, "/action", "member"),
        ({"type": "TransformationEvent", "epcList": None, "action": None, "inputQuantityList": SOME}, "", "one_of"),
        ({"type": "TransformationEvent", "epcList": None, "action": None, "transformationID": "urn:a:b"}, "", "one_of"),
    ],
)  # fmt: skip
def test_each_rule_is_told_with_its_place(members, where, name):
    assert of_event(**members) == [(where, name)]


@pytest.mark.parametrize(
    "members",
    [
        {"epcList": None, "sensorElementList": [{"sensorReport": [REPORT]}], "readPoint": {"id": "geo:39.9,116.4"}},
        {"bizStep": "https://own.test/step/charging"},
        {"bizStep": "https://ref.gs1.org/cbv/BizStep-departing"},
        {"certificationInfo": "urn:test:c"},
        {"type": "TransactionEvent", "bizTransactionList": [PAIR], "epcList": None, "action": "DELETE"},
        {"type": "AggregationEvent", "epcList": None, "childEPCs": ["urn:test:a"]},
        {"type": "AggregationEvent", "epcList": None, "action": "DELETE", "parentID": "urn:test:p"},
        {"type": "AssociationEvent", "epcList": None, "childEPCs": ["urn:test:a"], "parentID": "urn:test:place"},
        {"type": "TransformationEvent", "epcList": None, "action": None, "transformationID": "urn:a:b", "inputQuantityList": SOME},
        {"type": "hz:Weighing", "epcList": None, "action": None},
        {"https://own.test/x": {"free": [1, {"bare": None}]}},
        {"quantityList": [{"epcClass": "urn:a:b", "quantity": 0}]},
        {"eventTime": "2026-11-22T08:04:59Z"},
        {"eventTime": "2026-03-02t08:15:30.123456789z"},
    ],
)  # fmt: skip
def test_what_the_rules_allow_is_taken(members):
    assert of_event(**members) == []


def test_the_future_begins_behind_the_tolerance():
    assert of_event(eventTime="2026-11-22T08:05:01Z") == [("/eventTime", "future")]
    document = a_document(an_event(eventTime="2026-11-22T08:00:01Z"))
    assert faults(document, limits=Limits(ahead=timedelta(0))) == [
        ("/epcisBody/eventList/0/eventTime", "future")
    ]
    assert of_event(errorDeclaration={"declarationTime": "2027-01-01T00:00:00Z"}) == [
        ("/errorDeclaration/declarationTime", "future")
    ]


def test_every_fault_of_a_document_is_told_and_the_sound_events_are_read():
    document = judged(
        a_document(
            an_event(),
            an_event(bizStep="x", action="y"),
            an_event(eventID="urn:test:2"),
            creationDate="today",
        )
    )
    assert [fault.pointer for fault in document.all_faults] == [
        "/creationDate",
        "/epcisBody/eventList/1/action",
        "/epcisBody/eventList/1/bizStep",
    ]
    assert [entry.event is not None for entry in document.entries] == [True, False, True]
    with pytest.raises(DocumentError) as refused:
        document.require_sound()
    assert len(refused.value.faults) == 3
    assert "3 faults" in str(refused.value)
    assert "/creationDate" in refused.value.message("zh")


def test_faults_are_told_up_to_a_cap_and_no_unsound_event_passes():
    document = judged(a_document(*[an_event(epcList=["a b", "c d"])] * 9), limits=Limits(faults=4))
    assert document.events == ()
    assert [len(entry.faults) for entry in document.entries] == [2, 2, *[1] * 7]


def test_a_fault_says_what_would_be_right_in_both_languages():
    (fault,) = judged(a_document(an_event(bizStep="departng"))).all_faults
    assert "departing" in fault.message("en")
    assert "departing" in fault.message("zh")
    assert fault.message("en") != fault.message("zh")


def test_a_fault_inside_a_document_of_an_event_alone_is_told_from_its_root():
    assert faults({"@context": CONTEXT, **an_event(bizStep="x")}) == [("/bizStep", "word")]
    assert faults({**an_event(action=None)}) == [("", "missing")] * 2
    assert faults({"@context": CONTEXT, "type": "EPCISDocuments"}) != []


def test_a_long_value_is_cut_in_what_is_told():
    (fault,) = judged(a_document(an_event(eventID="x" * 9000))).all_faults
    assert len(fault.message()) < 500


@pytest.mark.parametrize(
    ("members", "where", "name"),
    [
        ({"@context": None}, "", "missing"),
        ({"schemaVersion": None}, "", "missing"),
        ({"schemaVersion": 2}, "/schemaVersion", "version"),
        ({"creationDate": None}, "", "missing"),
        ({"creationDate": "2026-03-02"}, "/creationDate", "instant"),
        ({"epcisBody": None}, "", "missing"),
        ({"epcisBody": []}, "/epcisBody", "object"),
        ({"epcisBody": {}}, "/epcisBody", "missing"),
        ({"epcisBody": {"eventList": {}}}, "/epcisBody/eventList", "array"),
        ({"epcisBody": {"eventList": [7]}}, "/epcisBody/eventList/0", "object"),
        ({"id": "x"}, "/id", "uri"),
        ({"sender": 5}, "/sender", "text"),
        ({"remark": "x"}, "/remark", "member"),
        ({"epcisHeader": {"epcisMasterData": []}}, "/epcisHeader/epcisMasterData", "object"),
        (
            {"epcisHeader": {"epcisMasterData": {"vocabularyList": {}}}},
            "/epcisHeader/epcisMasterData/vocabularyList",
            "array",
        ),
        (
            {"epcisHeader": {"epcisMasterData": {"vocabularyList": [{}]}}},
            "/epcisHeader/epcisMasterData/vocabularyList/0",
            "missing",
        ),
    ],
)
def test_the_frame_is_judged_too(members, where, name):
    assert faults(a_document(**members)) == [(where, name)]


@pytest.mark.parametrize("content", [[], 7, "x", None])
def test_what_is_no_object_is_no_document(content):
    document = read_document(json.dumps(content).encode(), now=NOW)
    assert [(fault.pointer, fault.name) for fault in document.all_faults] == [("", "object")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"type":"A","type":"B"}',
        b'{"x":NaN}',
        b'{"x":1e400}',
        b'{"x":' + b"1" * 40 + b"}",
        b'{"x":"\\ud800"}',
        b"[" * 40 + b"]" * 40,
    ],
)
def test_what_is_no_strict_json_is_refused(data):
    with pytest.raises(MalformedError):
        read_document(data, now=NOW)


def test_what_json_cannot_say_is_not_written():
    with pytest.raises(TypeError):
        write({"x": object()})


def test_what_is_too_much_is_refused():
    data = write(a_document(an_event(), an_event()))
    with pytest.raises(LimitError, match="at most 10"):
        read_document(data, now=NOW, limits=Limits(size=10))
    with pytest.raises(LimitError, match="at most 1 "):
        read_document(data, now=NOW, limits=Limits(events=1))


def test_an_event_may_bring_its_own_context():
    event = {**an_event(**{"q:x": 1}), "@context": {"q": "https://ns.test/hz/"}}
    document = judged(a_document(event))
    assert document.all_faults == ()
    assert document.events[0].hash == judged(a_document(an_event(**{"hz:x": 1}))).events[0].hash
    assert document.events[0].context == [EPCIS_CONTEXT, CONTEXT[1], {"q": "https://ns.test/hz/"}]
    assert "@context" not in document.events[0].content
    event["@context"] = "https://away.test/context.jsonld"
    assert faults(a_document(event))[0] == ("/epcisBody/eventList/0/@context", "context_unknown")
