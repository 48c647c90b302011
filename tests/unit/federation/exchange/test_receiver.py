import hashlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.exchange import receipt as receipts
from federation.exchange.envelope import ENVELOPE_TYPE, Position
from federation.exchange.handlers import Handlers
from federation.exchange.storage.received import ReceivedUnit
from federation.log.leaf import Leaf
from federation.log.merkle import leaf_hash
from federation.log.storage import LogUnit
from node.schema import upgrade
from registry.errors import (
    InvalidValueError,
    LimitError,
    NotResponsibleError,
    UnavailableError,
)
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import jws
from registry.trust.encoding import b64u, from_b64u
from registry.trust.rights import OPERATIONS, full_rights
from registry.trust.statement import StatementKey
from tests.support.exchange_nodes import Noted, Pen, a_desk
from tests.support.exchange_wire import PARK, TREE, WORKS
from tests.support.prefixes import MovedClock
from tests.support.processes import until
from tests.support.trust import DAY, NOW, a_chain, a_signer


@pytest.fixture
def park(sqlite_database):
    return a_desk(sqlite_database)


@pytest.fixture
def pen():
    return Pen()


def leaves(desk):
    with desk.database.read() as connection:
        log = LogUnit(connection)
        return [Leaf.decode(raw) for raw in log.leaves(0, log.size())]


def resigned(envelope, signer, *, raw=None, **change):
    payload = raw if raw is not None else orjson.dumps(envelope.parsed.claims() | change)
    return jws.sign(signer, ENVELOPE_TYPE, payload).encode()


def test_a_batch_is_accepted_applied_logged_and_receipted_in_order(database, pen):
    park = a_desk(database)
    made = pen.many(5)
    lines = park.take(pen, made)
    found = park.receipts(lines)
    assert [line.status for line in lines] == [200] * 5
    assert [one.code for one in found] == ["ok"] * 5
    assert [one.leaf_index for one in found] == [0, 1, 2, 3, 4]
    assert park.got == [one.env for one in made]
    key = TREE.verified("88.107").signing_key(found[0].kid, NOW)
    for envelope, one, leaf in zip(made, found, leaves(park), strict=True):
        receipts.verify(one, key)
        receipts.require_answer(one, envelope)
        assert one.leaf == b64u(leaf_hash(leaf.encode()))
        assert (leaf.kind, leaf.env, leaf.code, leaf.at) == ("in", envelope.env, "ok", one.received_at)
    lane = park.lane(pen)
    assert (lane.epoch, lane.next_seq, b64u(lane.prev)) == (1, 6, made[-1].env)


def test_fault_17_an_alarm_comes_between_the_parts_of_a_batch(park, pen):
    alarm = Pen(stream="alarm")
    found = []

    def raise_alarm():
        park.database.hurry()
        found.extend(park.receipts(park.take(alarm, [alarm.write(type_="test.alarm", schema="test/1")])))

    thread = threading.Thread(target=raise_alarm)
    apply = park.note.apply

    def applied(connection, delivery):
        apply(connection, delivery)
        if not thread.ident:
            thread.start()
            until(lambda: any(park.database._writer._waiting.values()), "the alarm waits")

    park.note.apply = applied
    made = pen.many(256)
    receipts_of_bulk = park.receipts(park.take(pen, made))
    thread.join()
    assert [one.code for one in receipts_of_bulk] == ["ok"] * 256
    assert 0 < found[0].leaf_index < 100
    assert park.got == [one.env for one in made]


def test_the_same_bytes_in_two_parts_of_a_batch_have_one_effect_and_one_receipt(database, pen):
    park = a_desk(database)
    made = pen.many(100)
    lines = park.take(pen, [*made, made[0], made[99]])
    assert [line.status for line in lines] == [200] * 102
    assert lines[100].receipt == lines[0].receipt
    assert lines[101].receipt == lines[99].receipt
    assert park.got == [one.env for one in made]


def test_a_refusal_in_a_later_part_of_a_batch_is_final_and_the_rest_is_taken(database, pen):
    park = a_desk(database)
    made = [pen.write({"refuse": True} if n in (70, 130) else {"n": n}) for n in range(150)]
    codes = park.codes(park.take(pen, made))
    assert [n for n, code in enumerate(codes) if code != "ok"] == [70, 130]
    assert park.lane(pen).next_seq == 151
    assert len(park.got) == 148


def test_the_handler_gets_the_content_with_its_origin_and_chain(park, pen):
    park.take(pen, [pen.write({"identifier": "88.107.1001/B-1"})])
    delivery = park.note.got[0]
    assert delivery.origin == WORKS
    assert delivery.receiver == PARK
    assert delivery.via == ()
    assert delivery.body == {"identifier": "88.107.1001/B-1"}
    assert delivery.chain.subject == WORKS
    assert delivery.received_at == NOW


def test_fault_09_the_same_bytes_again_get_the_same_receipt_and_no_second_effect(database, pen):
    park = a_desk(database)
    made = pen.many(3)
    first = park.take(pen, made)
    park.clock.time += 3600
    assert park.take(pen, made) == first
    assert park.take(pen, [made[1]]) == [first[1]]
    assert len(park.got) == 3
    assert len(leaves(park)) == 3


def test_fault_09_the_same_bytes_twice_in_one_batch_have_one_effect(park, pen):
    one = pen.write()
    lines = park.take(pen, [one, one, one])
    assert lines[0] == lines[1] == lines[2]
    assert park.got == [one.env]


def test_fault_09_a_hundred_times_in_parallel_is_one_effect_and_one_receipt(database, pen):
    park = a_desk(database)
    made = pen.many(4)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: park.take(pen, made), range(100)))
    final = [
        line.receipt for line in max(answers, key=lambda lines: sum(line.status == 200 for line in lines))
    ]
    assert None not in final
    for lines in answers:
        assert [line.receipt for line in lines if line.status == 200] == [
            receipt for line, receipt in zip(lines, final, strict=True) if line.status == 200
        ]
    assert park.got == [one.env for one in made]
    assert len(leaves(park)) == 4


def test_fault_09_a_padded_token_is_another_token_and_refused_unsigned(park, pen):
    one = pen.write()
    line = park.receiver.receive(WORKS, "register", [one.token.encode() + b"="])[0]
    assert (line.status, line.receipt) == (400, None)
    assert park.got == []


def test_fault_09_the_other_form_of_an_es256_signature_is_the_same_envelope(sqlite_database):
    signer = a_signer("88.107.1001", "ES256")
    tree = a_chain(
        "88",
        "88.107",
        "88.107.1001",
        changed={"88.107.1001": {"keys": (StatementKey.of(signer, nbf=NOW - 3600),)}},
    )
    park = a_desk(sqlite_database, tree=tree)
    pen = Pen(tree=tree, signer=signer)
    one = pen.write()
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = one.parsed.signature
    other = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = f"{one.parsed.signing_input.decode()}.{b64u(other)}".encode()
    assert twin != one.token.encode()
    first = park.take(pen, [one])
    assert park.receiver.receive(WORKS, "register", [twin]) == first
    assert park.got == [one.env]


def test_a_gap_names_what_is_expected_and_uses_up_nothing(park, pen):
    first, second, third = pen.many(3)
    park.take(pen, [first])
    lines = park.take(pen, [third])
    found = park.receipts(lines)[0]
    assert (lines[0].status, found.code) == (425, "gap")
    assert (found.expected.epoch, found.expected.seq) == (1, 2)
    assert park.codes(park.take(pen, [second, third])) == ["ok", "ok"]


def test_what_follows_a_gap_within_a_batch_waits_too(park, pen):
    first, _second, third, fourth = pen.many(4)
    assert park.codes(park.take(pen, [first, third, fourth])) == ["ok", "gap", "gap"]
    assert park.lane(pen).next_seq == 2


def test_an_unknown_epoch_is_not_opened_by_an_envelope(park, pen):
    one = pen.write(position=Position(2, 1, pen.position.prev))
    lines = park.take(pen, [one])
    assert park.codes(lines) == ["unknown_epoch"]
    assert park.receipts(lines)[0].expected.seq == 1


def test_fault_10_a_second_envelope_under_a_number_is_refused_and_both_are_kept(database, pen):
    park = a_desk(database)
    start = pen.position
    first = pen.write({"n": "one"})
    second = pen.write({"n": "other"}, position=start)
    park.take(pen, [first])
    lines = park.take(pen, [second])
    assert [line.status for line in lines] == [409]
    assert park.receipts(lines)[0].code == "equivocation"
    assert park.take(pen, [second]) == lines
    with park.database.read() as connection:
        kept = ReceivedUnit(connection).conflicts("88.107.1001")
    assert [(row.token.decode(), row.known_token.decode()) for row in kept] == [(second.token, first.token)]
    assert kept[0].receipt == lines[0].receipt
    assert park.got == [first.env]


def test_fault_10_two_envelopes_under_a_number_in_one_batch_are_noticed(park, pen):
    start = pen.position
    first, second = pen.write({"n": "one"}), pen.write({"n": "other"}, position=start)
    assert park.codes(park.take(pen, [first, second])) == ["ok", "equivocation"]
    with park.database.read() as connection:
        assert len(ReceivedUnit(connection).conflicts()) == 1


def test_fault_07_an_envelope_for_somebody_else_is_misdirected_and_uses_up_nothing(park, pen):
    stray = Pen(aud="88")
    lines = park.take(stray, [stray.write()])
    found = park.receipts(lines)[0]
    assert (lines[0].status, found.code, found.iss) == (421, "wrong_aud", PARK)
    with park.database.read() as connection:
        assert ReceivedUnit(connection).lanes() == []


def test_fault_07_a_peer_cannot_bring_what_another_prefix_signed(park):
    other = Pen()
    tokens = [one.token.encode() for one in other.many(1)]
    lines = park.receiver.receive(Prefix.parse("88.107.1002"), "register", tokens)
    assert lines[0].status in (401, 421)
    assert park.got == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"identifier": "88.107.1002/B-1"}, "forbidden_prefix"),
        (
            {"rows": [{"identifier": "88.107.1001/B"}] * 999 + [{"identifier": "88.107.10011/B"}]},
            "forbidden_prefix",
        ),
        ({"serial": "88.107/B"}, "forbidden_prefix"),
        ({"wrong": True}, "bad_schema"),
        ({"refuse": True}, "business"),
    ],
)
def test_fault_03_a_final_rejection_is_signed_uses_up_its_number_and_has_no_effect(database, body, code):
    park, pen = a_desk(database), Pen()
    good, bad, after = pen.write(), pen.write(body), pen.write()
    lines = park.take(pen, [good, bad, after])
    assert park.codes(lines) == ["ok", code, "ok"]
    assert [line.status for line in lines] == [200, 200, 200]
    assert park.got == [good.env, after.env]
    assert [leaf.outcome for leaf in leaves(park)] == ["accepted", "rejected", "accepted"]
    assert park.take(pen, [bad]) == [lines[1]]


def test_a_right_that_is_not_there_is_a_final_rejection(sqlite_database):
    tree = a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": _without("flow")})
    park = a_desk(sqlite_database, tree=tree, note=Noted(stream="flow"))
    pen = Pen(stream="flow", tree=tree)
    assert park.codes(park.take(pen, [pen.write()])) == ["forbidden_op"]


def _without(operation):
    kept = [name for name in OPERATIONS if name != operation]
    return {"perms": full_rights(WORKS, kept)}


def test_a_mistake_of_ours_in_a_handler_loses_nothing_and_blocks_nobody(park, pen):
    bad, good = pen.write({"broken": True}), pen.write()
    assert park.codes(park.take(pen, [bad, good])) == ["ok", "ok"]
    assert park.got == [good.env]


def test_a_handler_that_cannot_now_stores_nothing_of_the_batch(sqlite_database, pen):
    class Away(Noted):
        def apply(self, connection, delivery):
            super().apply(connection, delivery)
            if delivery.body.get("n") == 2:
                raise UnavailableError("registry.storage.unavailable", reason="test")

    park = a_desk(sqlite_database, note=Away())
    with pytest.raises(UnavailableError):
        park.take(pen, pen.many(3))
    assert park.got == []
    assert park.lane(pen).next_seq == 1
    assert leaves(park) == []


def test_fault_13_what_cannot_be_committed_is_not_acknowledged(sqlite_database, pen):
    def refuse(_connection):
        raise UnavailableError("federation.exchange_receiving.stopped", reason="test")

    park = a_desk(sqlite_database, may_sign=refuse)
    with pytest.raises(UnavailableError):
        park.take(pen, pen.many(2))
    assert leaves(park) == []


def test_an_unknown_type_is_kept_unapplied_and_applied_after_the_upgrade(database, pen):
    old = a_desk(database, handlers=Handlers())
    made = [pen.write(), pen.write(type_="other", schema="other/1"), pen.write(schema="note/2")]
    assert old.codes(old.take(pen, made)) == ["unknown_type"] * 3
    assert old.applier.waiting() == 3
    new = a_desk(database)
    applied = new.applier.apply_waiting()
    assert (applied.applied, applied.refused) == (1, 0)
    assert new.got == [made[0].env]
    assert new.applier.waiting() == 2
    assert new.applier.apply_waiting().applied == 0
    newer = a_desk(database, note=Noted(schemas=frozenset({"note/1", "note/2"})))
    assert newer.applier.apply_waiting().applied == 1
    assert newer.got == [made[0].env, made[2].env]


def test_what_cannot_be_applied_after_the_upgrade_is_left_to_an_operator(sqlite_database, pen):
    old = a_desk(sqlite_database, handlers=Handlers())
    old.take(pen, [pen.write({"refuse": True}), pen.write({"wrong": True}), pen.write()])
    new = a_desk(sqlite_database)
    applied = new.applier.apply_waiting()
    assert (applied.applied, applied.refused) == (1, 2)
    assert len(new.got) == 1


def test_a_known_type_with_an_unknown_schema_says_so(park, pen):
    assert park.codes(park.take(pen, [pen.write(schema="note/9")])) == ["unknown_schema"]


def test_fault_17_poison_alone_at_its_url_is_rejected_for_good_and_blocks_nothing(park, pen):
    park.inbound.introduce(WORKS, TREE.tokens_of("88.107.1001"))
    good = pen.write()
    signer = a_signer("88.107.1001")
    poison = resigned(good, signer, raw=b'{"iss":1,"iss":2}')
    assert park.codes(park.receiver.receive(WORKS, "register", [poison])) == ["position_needed"]
    lines = park.receiver.receive(WORKS, "register", [poison], at=(1, 1))
    found = park.receipts(lines)[0]
    assert (lines[0].status, found.code, found.seq) == (200, "bad_json", 1)
    env = jws.parse(poison.decode(), typ=ENVELOPE_TYPE).sha256
    after = pen.write(position=Position(1, 2, env))
    assert park.codes(park.take(pen, [after])) == ["ok"]
    assert park.receiver.receive(WORKS, "register", [poison], at=(1, 1)) == lines


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 10_000,
        b'{"a":NaN}',
        b'{"a":9007199254740993}',
        b'{"a":"\\ud800"}',
        b"\xff\xfe",
        b"null",
        b"{}",
    ],
)
def test_fault_17_whatever_the_poison_its_rejection_is_signed(park, pen, raw):
    token = resigned(pen.write(), a_signer("88.107.1001"), raw=raw)
    # the chain was learned with the session
    park.chains.take(WORKS, TREE.tokens_of("88.107.1001"))
    lines = park.receiver.receive(WORKS, "register", [token], at=(1, 1))
    assert park.codes(lines) == ["bad_json"]
    assert leaves(park)[0].code == "bad_json"


def test_fault_17_a_token_that_is_too_large_is_refused_before_anything_is_read(park):
    line = park.receiver.receive(WORKS, "register", [b"a" * 300_000])[0]
    assert (line.status, line.receipt) == (413, None)


def test_fault_01_a_changed_bit_is_refused_unsigned(park, pen):
    one = pen.write()
    for place in (10, len(one.token) // 2, len(one.token) - 5):
        changed = bytearray(one.token.encode())
        changed[place] = ord("A") if changed[place] != ord("A") else ord("B")
        line = park.receiver.receive(WORKS, "register", [bytes(changed)])[0]
        assert line.receipt is None
        assert line.status in (400, 401)
    assert park.got == []


def test_fault_02_a_key_that_no_chain_names_is_refused_until_the_chain_comes(park, pen):
    one = pen.write(chain=b64u(bytes(32)))
    assert park.codes(park.take(pen, [one])) == ["unknown_key"]
    park.inbound.introduce(WORKS, TREE.tokens_of("88.107.1001"))
    lines = park.take(pen, [one])
    assert (lines[0].status, park.codes(lines)) == (425, ["stale_chain"])
    assert park.receipts(lines)[0].expected.seq == 1


def test_fault_02_a_key_for_another_use_signs_no_envelope(sqlite_database):
    log_key = a_signer("a log")
    keys = (
        StatementKey.of(a_signer("88.107.1001"), nbf=NOW - 3600),
        StatementKey.of(log_key, nbf=NOW - 3600, use="log"),
    )
    tree = a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": {"keys": keys}})
    park = a_desk(sqlite_database, tree=tree)
    pen = Pen(tree=tree, signer=log_key)
    assert [line.status for line in park.take(pen, [pen.write()])] == [401]


def test_fault_04_a_chain_that_widens_rights_brings_nothing_in(sqlite_database):
    wide = a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": {"exp": NOW + 9000 * DAY}})
    park = a_desk(sqlite_database)
    pen = Pen(tree=wide)
    assert [line.status for line in park.take(pen, [pen.write()])] == [401]
    assert leaves(park) == []


def test_a_suspended_sender_is_refused_unsigned_and_still_gets_its_old_receipts(park, pen):
    one, two = pen.many(2)
    first = park.take(pen, [one])
    suspended = a_chain(
        "88", "88.107", "88.107.1001", changed={"88.107.1001": {"state": "suspended", "ver": 2}}
    )
    park.homes.delegated["88.107.1001"] = suspended.tokens_of("88.107.1001")
    assert [line.status for line in park.take(pen, [two])] == [403]
    assert park.take(pen, [one]) == first


def test_an_expired_chain_is_refused_unsigned_until_a_fresh_one_comes(park, pen):
    one = pen.write()
    park.clock.time += 91 * DAY
    assert [line.status for line in park.take(pen, [one])] == [401]
    assert leaves(park) == []


def test_a_detached_body_is_waited_for_and_checked(park, pen):
    data = orjson.dumps({"text": "x" * 100_000})
    one = pen.write(orjson.loads(data))
    assert one.detached is not None
    lines = park.take(pen, [one])
    assert (lines[0].status, lines[0].code) == (424, "body_missing")
    park.inbound.put_body(WORKS, hashlib.sha256(data).digest(), data)
    assert park.inbound.has_body(hashlib.sha256(data).digest())
    assert park.codes(park.take(pen, [one])) == ["ok"]
    assert park.note.got[0].body == orjson.loads(data)
    park.clock.time += 3 * DAY
    park.inbound.put_body(WORKS, hashlib.sha256(b"other").digest(), b"other")
    assert park.inbound.has_body(hashlib.sha256(data).digest())


def test_a_body_under_another_digest_or_too_many_of_them_are_refused(park):
    with pytest.raises(InvalidValueError):
        park.inbound.put_body(WORKS, bytes(32), b"x")
    with pytest.raises(LimitError):
        park.inbound.put_body(WORKS, bytes(32), b"x" * (10 * 1024 * 1024 + 1))


def test_more_than_the_credit_is_asked_for_again(sqlite_database, pen):
    park = a_desk(sqlite_database, credit=2)
    made = pen.many(4)
    lines = park.take(pen, made)
    assert [line.status for line in lines] == [200, 200, 429, 429]
    assert lines[2].retry_after
    assert park.codes(park.take(pen, made[2:])) == ["ok", "ok"]
    assert park.receipts(lines)[0].credit == 2


def test_a_stream_that_does_not_exist_and_a_batch_beyond_all_measure_are_refused(park):
    with pytest.raises(InvalidValueError):
        park.receiver.receive(WORKS, "nothing", [b"x"])
    with pytest.raises(LimitError):
        park.receiver.receive(WORKS, "register", [b"x"] * 257)
    with pytest.raises(NotResponsibleError):
        park.receiver.receive(Prefix.parse("99.1"), "register", [b"x"])


def test_fault_15_after_a_restore_what_is_sent_again_gets_the_receipt_it_had(tmp_path, sqlite_database, pen):
    park = a_desk(sqlite_database)
    made = [pen.write(), pen.write({"refuse": True}), pen.write(), pen.write(type_="new", schema="new/1")]
    before = park.take(pen, made)
    old = leaves(park)
    fresh = _empty(tmp_path)
    restored = a_desk(fresh, clock=MovedClock(NOW + 5 * DAY))
    with fresh.write() as connection:
        LogUnit(connection).append([leaf.encode() for leaf in old])
        rows = [(name_of(leaf), index, leaf.encode()) for index, leaf in enumerate(old)]
        ReceivedUnit(connection).put_refound(rows)
    assert restored.take(pen, made) == before
    assert len(leaves(restored)) == len(old)
    assert restored.got == [made[0].env, made[2].env]
    after = restored.take(pen, [pen.write()])
    assert restored.receipts(after)[0].leaf_index == len(old)
    fresh.close()


def name_of(leaf):
    return from_b64u(leaf.env)


def _empty(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'restored.sqlite3'}")
    upgrade(made)
    return made


_TRIES = itertools.count(2000)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('lasting') / 'x.sqlite3'}")
    upgrade(made)
    yield made
    made.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=6), max_size=12))
def test_fault_26_whatever_is_lost_repeated_or_out_of_order_what_was_accepted_is_a_gapless_beginning(
    lasting, batches
):
    """A lane of eight envelopes arrives in any batches: each has one effect, in order, and one receipt for ever."""
    number = next(_TRIES)
    name = f"88.107.{number}"
    tree = a_chain("88", "88.107", name)
    park, pen = a_desk(lasting, tree=tree), Pen(name, tree=tree)
    park.inbound.introduce(pen.iss, tree.tokens_of(name))
    made = pen.many(8)
    given_receipts = {}
    for batch in batches:
        lines = park.take(pen, [made[place] for place in batch])
        for place, line in zip(batch, lines, strict=True):
            if line.status == 200:
                assert given_receipts.setdefault(place, line.receipt) == line.receipt
            else:
                assert park.codes([line]) == ["gap"]
    accepted = sorted(given_receipts)
    assert accepted == list(range(len(accepted)))
    assert [delivery.envelope.env for delivery in park.note.got] == [made[place].env for place in accepted]
    assert park.lane(pen).next_seq == len(accepted) + 1


def test_lanes_of_different_streams_do_not_wait_for_one_another(park):
    alarm, bulk = Pen(stream="alarm"), Pen()
    bulk.write()
    park.handlers.register(Noted(type="bell", stream="alarm", schemas=frozenset({"bell/1"})))
    assert park.codes(park.take(bulk, [bulk.write()])) == ["unknown_key"]
    assert park.codes(park.take(alarm, [alarm.write(type_="bell", schema="bell/1")])) == ["ok"]
    assert park.codes(park.take(bulk, [bulk.write()])) == ["gap"]
