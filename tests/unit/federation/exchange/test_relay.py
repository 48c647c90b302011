import orjson
import pytest

from federation.exchange.envelope import ENVELOPE_TYPE, read
from federation.exchange.handlers import Handlers
from federation.exchange.outbox import to_draft
from federation.exchange.relay import RELAY_TYPE, RelayForm, RelayStreams, innermost, relay_schema
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import SendingUnit
from federation.exchange.streams import STREAMS
from registry.errors import MalformedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.encoding import from_b64u
from tests.support.exchange_nodes import Noted, Pen, a_desk
from tests.support.exchange_wire import PARK, TOP, TREE, WORKS
from tests.support.trust import DAY, NOW, a_chain, a_signer

TOKENS = TREE.tokens_of("88.107.1001")
DEEP = a_chain("88", "88.107", "88.107.1001", "88.107.1001.7")


@pytest.fixture
def top(sqlite_database):
    return a_desk(sqlite_database, "88")


@pytest.fixture
def works():
    return Pen()


@pytest.fixture
def park():
    return Pen("88.107", "88")


def around(pen, inner, *, tokens=TOKENS, **body):
    """The relay of an envelope, as `pen` writes it."""
    content = {"token": inner.token, "chain": list(tokens), **body}
    return pen.write(content, type_=RELAY_TYPE, schema=relay_schema(pen.stream))


def drafts(desk):
    with desk.database.read() as connection:
        unit = SendingUnit(connection)
        waiting = [
            one
            for stream in STREAMS
            for lane in unit.pending_lanes(stream)
            for one in unit.pending(lane, 100)
        ]
    return [to_draft(one) for one in sorted(waiting, key=lambda one: one.position)]


def changed(envelope, signer, **claims):
    payload = orjson.dumps(envelope.parsed.claims() | claims)
    return jws.sign(signer, ENVELOPE_TYPE, payload)


def test_an_accepted_envelope_is_passed_on_unchanged_in_the_accepting_transaction(database, works):
    park = a_desk(database, relays=STREAMS)
    made = [works.write(), works.write({"refuse": True}), works.write(type_="new", schema="new/1")]
    park.take(works, made)
    found = drafts(park)
    assert [one.body["token"] for one in found] == [made[0].token, made[2].token]
    assert {(one.iss, one.aud, one.stream, one.type) for one in found} == {
        (PARK, TOP, "register", RELAY_TYPE)
    }
    assert tuple(found[0].body["chain"]) == TREE.tokens_of("88.107.1001")
    assert found[0].ref == made[0].jti
    park.take(works, made)
    assert len(drafts(park)) == 2


def test_only_what_the_policy_names_is_passed_on(sqlite_database, works):
    park = a_desk(sqlite_database, relays=("alarm",))
    park.take(works, [works.write()])
    assert drafts(park) == []
    policy = RelayStreams(frozenset({"control", "register"}), kept=frozenset({"secret"}))
    assert policy.relays("register", "note")
    assert not policy.relays("register", "secret")
    assert not policy.relays("control", "note")


def test_the_top_passes_nothing_on_because_nobody_is_above(sqlite_database, park):
    top = a_desk(sqlite_database, "88", relays=STREAMS)
    top.take(park, [park.write()])
    assert drafts(top) == []


def test_what_is_inside_is_verified_and_delivered_with_its_origin(top, park, works):
    inner = works.write({"identifier": "88.107.1001/B-1"})
    lines = top.take(park, [around(park, inner)])
    assert top.codes(lines) == ["ok"]
    delivery = top.note.got[0]
    assert delivery.envelope.env == inner.env
    assert delivery.origin == WORKS
    assert delivery.via == (PARK,)
    assert delivery.receiver == TOP
    assert delivery.chain.subject == WORKS


def test_an_inner_envelope_has_one_effect_however_often_it_comes(database, park, works):
    top = a_desk(database, "88")
    inner = works.write()
    lines = top.take(park, [around(park, inner), around(park, inner)])
    assert top.codes(lines) == ["ok", "ok"]
    assert top.got == [inner.env]


def test_fault_10_a_second_inner_envelope_under_the_same_number_is_refused(top, park, works):
    start = works.position
    first, second = works.write({"n": "one"}), works.write({"n": "other"}, position=start)
    lines = top.take(park, [around(park, first), around(park, second)])
    assert top.codes(lines) == ["ok", "business"]
    assert top.got == [first.env]


def test_fault_07_a_relay_of_what_was_for_somebody_else_is_refused(top, park):
    straight = Pen("88.107.1001", "88")
    lines = top.take(park, [around(park, straight.write())])
    assert top.codes(lines) == ["business"]
    assert top.got == []


def test_fault_07_a_relay_cannot_speak_for_whom_it_is_not_above(sqlite_database, works):
    top = a_desk(sqlite_database, "88")
    tree = a_chain("88", "88.108")
    other = Pen("88.108", "88", tree=tree)
    stranger = Pen("88.107.1001", "88.108")
    assert top.codes(top.take(other, [around(other, stranger.write())])) == ["business"]
    assert top.got == []


@pytest.mark.parametrize(
    "body", [{"identifier": "88.107.1002/B"}, {"identifier": "88.107/B"}, {"serial": "88.108.1/B"}]
)
def test_fault_07_a_relay_never_widens_the_rights_of_the_origin(top, park, works, body):
    assert top.codes(top.take(park, [around(park, works.write(body))])) == ["business"]
    assert top.got == []


def test_fault_01_an_inner_signature_that_does_not_hold_is_refused(top, park, works):
    inner = works.write()
    forged = read(jws.parse(changed(inner, a_signer("88.107")), typ=ENVELOPE_TYPE))
    assert top.codes(top.take(park, [around(park, forged)])) == ["business"]
    broken = inner.token[:-4] + ("AAAA" if inner.token[-4:] != "AAAA" else "BBBB")
    content = {"token": broken, "chain": list(TREE.tokens_of("88.107.1001"))}
    sent = park.write(content, type_=RELAY_TYPE, schema=relay_schema("register"))
    assert top.codes(top.take(park, [sent])) == ["business"]
    assert top.got == []


def test_fault_04_an_inner_chain_of_somebody_else_or_one_that_does_not_hold_is_refused(top, park, works):
    inner = works.write()
    assert top.codes(top.take(park, [around(park, inner, tokens=TREE.tokens_of("88.107"))])) == ["business"]
    wide = a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": {"exp": NOW + 9000 * DAY}})
    sent = around(park, inner, tokens=wide.tokens_of("88.107.1001"))
    assert top.codes(top.take(park, [sent])) == ["business"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": "x"},
        {"token": "a.b.c", "chain": []},
        {"token": "a.b.c", "chain": ["x"], "more": 1},
        {"token": 7, "chain": ["x"]},
        ["token"],
    ],
)
def test_fault_17_a_relay_that_is_none_is_rejected_for_good(top, park, body):
    sent = park.write(body, type_=RELAY_TYPE, schema=relay_schema("register"))
    assert top.codes(top.take(park, [sent, park.write()])) == ["bad_schema", "ok"]


def test_an_inner_envelope_that_is_not_understood_waits_for_the_upgrade(database, park, works):
    old = a_desk(database, "88", handlers=Handlers())
    made = [works.write(), works.write({"refuse": True})]
    assert old.codes(old.take(park, [around(park, one) for one in made])) == ["ok", "ok"]
    new = a_desk(database, "88")
    applied = new.applier.apply_waiting()
    assert (applied.applied, applied.refused) == (1, 1)
    assert new.got == [made[0].env]
    assert new.note.got[0].via == (PARK,)
    assert new.applier.apply_waiting().applied == 0


def test_evidence_is_believed_though_its_chain_was_renewed_or_has_expired_since(sqlite_database, park, works):
    top = a_desk(sqlite_database, "88")
    inner = works.write()
    newer = a_chain("88", "88.107", "88.107.1001", changed={"88.107": {"ver": 9}})
    top.chains.take(PARK, newer.tokens_of("88.107"))
    assert top.codes(top.take(park, [around(park, inner)])) == ["ok"]


def test_a_relay_inside_a_relay_is_opened_down_to_the_origin(sqlite_database):
    top = a_desk(sqlite_database, "88", tree=DEEP)
    shop = Pen("88.107.1001.7", "88.107.1001", tree=DEEP)
    works, park = Pen("88.107.1001", "88.107", tree=DEEP), Pen("88.107", "88", tree=DEEP)
    inner = shop.write()
    middle = around(works, inner, tokens=DEEP.tokens_of("88.107.1001.7"))
    outer = around(park, middle, tokens=DEEP.tokens_of("88.107.1001"))
    assert innermost(outer.body).env == inner.env
    assert top.codes(top.take(park, [outer])) == ["ok"]
    delivery = top.note.got[0]
    assert delivery.origin == Prefix.parse("88.107.1001.7")
    assert delivery.via == (WORKS, PARK)


def test_a_relay_that_arrives_is_passed_on_again_by_what_is_inside(sqlite_database):
    park = a_desk(sqlite_database, "88.107", tree=DEEP, relays=STREAMS)
    shop, works = Pen("88.107.1001.7", "88.107.1001", tree=DEEP), Pen("88.107.1001", "88.107", tree=DEEP)
    inner = shop.write()
    middle = around(works, inner, tokens=DEEP.tokens_of("88.107.1001.7"))
    assert park.codes(park.take(works, [middle])) == ["ok"]
    found = drafts(park)
    assert [one.body["token"] for one in found] == [middle.token]


def test_a_body_that_travelled_beside_is_passed_on_with_its_envelope(sqlite_database, works, park):
    desk = a_desk(sqlite_database, "88.107", "88", relays=STREAMS)
    body = {"text": "x" * 70_000}
    inner = works.write(body)
    assert inner.detached is not None
    data = inner.detached.data
    desk.inbound.put_body(WORKS, from_b64u(inner.detached.sha256), data)
    assert desk.codes(desk.take(works, [inner])) == ["ok"]
    draft = drafts(desk)[0]
    form = RelayForm.read(draft.body)
    assert form.body == body
    sent = park.write(draft.body, type_=RELAY_TYPE, schema=relay_schema("register"))
    desk.inbound.put_body(PARK, from_b64u(sent.detached.sha256), sent.detached.data)
    assert desk.codes(desk.take(park, [sent])) == ["ok"]
    assert [delivery.body for delivery in desk.note.got] == [body, body]
    with pytest.raises(MalformedError):
        RelayForm.read({**draft.body, "body": "AAAA"})
    with pytest.raises(MalformedError):
        RelayForm.read({name: draft.body[name] for name in ("token", "chain")})


def test_a_relay_belongs_on_the_stream_of_what_is_inside(top, park):
    top.handlers.register(Noted(type="bell", stream="alarm", schemas=frozenset({"bell/1"})))
    bell = Pen(stream="alarm")
    inner = bell.write(type_="bell", schema="bell/1")
    sent = park.write(
        {"token": inner.token, "chain": list(TREE.tokens_of("88.107.1001"))},
        type_=RELAY_TYPE,
        schema=relay_schema("register"),
    )
    assert top.codes(top.take(park, [sent])) == ["business"]
    other = park.write({"token": "x"}, type_=RELAY_TYPE, schema=relay_schema("alarm"))
    assert top.codes(top.take(park, [other])) == ["forbidden_op"]


def test_where_a_relayed_envelope_came_from_stands_in_the_inbox(top, park, works):
    sent = around(park, works.write())
    top.take(park, [sent])
    with top.database.read() as connection:
        row = connection.exec_driver_sql("SELECT origin, type FROM exchange_in").one()
        assert tuple(row) == ("88.107.1001", RELAY_TYPE)
        assert ReceivedUnit(connection).relayed_at("88", ("88.107.1001", "register"), 1, 1)
