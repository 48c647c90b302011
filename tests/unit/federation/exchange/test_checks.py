import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.checks import Inspection
from federation.exchange.decisions import Accept, Duplicate, Hold, Known, Refuse, Reject
from federation.exchange.envelope import ENVELOPE_TYPE, Position
from federation.exchange.epoch import first_position
from federation.exchange.receipt import CODES, FINAL, Expected
from federation.exchange.streams import MAX_ENVELOPE_BYTES
from registry.errors import (
    ForbiddenError,
    InternalError,
    InvalidValueError,
    LimitError,
    MalformedError,
    UntrustedError,
)
from registry.trust import jws
from registry.trust.encoding import b64u
from registry.trust.rights import Permission, Right
from registry.trust.statement import StatementKey
from tests.support.exchange_wire import (
    PARK,
    TOP,
    TREE,
    WORKS,
    ADevice,
    SomeHandlers,
    a_receipt,
    due_for,
    inspected,
    lane_of,
    sealed,
)
from tests.support.trust import DAY, NOW, a_chain, a_signer

GOOD = sealed()
DUE = due_for(GOOD)
SIGNER = a_signer("88.107.1001")
KNOWN = Known(WORKS, GOOD.env, a_receipt(GOOD).token, "ok")


def resealed(*without, raw=None, signer=SIGNER, **change):
    claims = GOOD.parsed.claims() | change
    for name in without:
        del claims[name]
    return jws.sign(signer, ENVELOPE_TYPE, raw if raw is not None else orjson.dumps(claims)).encode()


def tree(**change):
    """The chain of the works with something special about its statement."""
    return a_chain("88", "88.107", "88.107.1001", changed={"88.107.1001": change}).verified()


def code(decision):
    said = decision.error
    assert said is None or said.message("zh") != said.message("en")
    return decision.code


def test_a_good_envelope_is_accepted_at_the_place_it_takes():
    decision = inspected(GOOD.token, due=DUE)
    assert decision == Accept("ok", ADevice(), GOOD.body, DUE)
    assert decision.outcome == "accepted"
    assert decision.position.after(GOOD.env) == Position(1, 2, GOOD.env)
    assert inspected(GOOD.token, due=DUE, at=(1, 1)) == decision


# steps 1, 2


def test_step_1_what_is_too_large_is_refused_unsigned():
    decision = inspected(b"a" * (MAX_ENVELOPE_BYTES + 1), due=DUE)
    assert isinstance(decision, Refuse)
    assert (decision.status, code(decision)) == (413, "too_large")
    assert decision.line().receipt is None


@pytest.mark.parametrize(
    "token", [b"", b"a.b", GOOD.token.encode() + b"=", a_receipt(GOOD).token.encode(), "硫.酸.x".encode()]
)
def test_step_2_what_is_no_token_is_refused_unsigned(token):
    decision = inspected(token, due=DUE)
    assert isinstance(decision, Refuse)
    assert (decision.status, code(decision)) == (400, "bad_token")
    line = decision.line()
    assert (line.status, line.code, line.receipt) == (400, "bad_token", None)
    assert line.detail_zh != line.detail_en


# step 3


def test_step_3_a_known_hash_gets_its_receipt_before_anything_else_is_looked_at():
    revoked = tree(state="revoked")
    decision = inspected(GOOD.token, due=Position(1, 9, GOOD.env), known=KNOWN, chain=revoked)
    assert decision == Duplicate(KNOWN)
    assert decision.line().receipt == KNOWN.receipt
    assert decision.line().status == 200


def test_step_3_a_known_hash_from_another_peer_gets_nothing():
    decision = inspected(GOOD.token, due=DUE, known=KNOWN, peer=PARK)
    assert isinstance(decision, Refuse)
    assert decision.status == 401


def test_fault_09_the_second_form_of_an_es256_signature_is_the_same_envelope():
    signer = a_signer("88.107.1001", "ES256")
    chain = tree(keys=(StatementKey.of(signer, nbf=NOW - DAY),))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    one = sealed(signer=signer)
    s = order - int.from_bytes(one.parsed.signature[32:], "big")
    twin = f"{one.parsed.signing_input.decode()}.{b64u(one.parsed.signature[:32] + s.to_bytes(32, 'big'))}"
    assert isinstance(inspected(one.token, due=DUE, chain=chain), Accept)
    known = Known(WORKS, one.env, "first", "ok")
    later = DUE.after(one.env)
    assert inspected(twin, due=later, chain=chain, known=known) == Duplicate(known)
    assert inspected(twin, due=later, chain=chain, occupant=known) == Duplicate(known)


# steps 4, 5


def test_step_4_without_a_chain_the_key_is_unknown():
    one = Inspection(GOOD.token.encode(), peer=WORKS, stream="register", receiver=PARK, mine=PARK.__eq__)
    assert one.unseal() is None
    decision = one.authenticate(None, now=NOW)
    assert (decision.status, code(decision)) == (401, "unknown_key")


def test_step_4_a_key_that_is_not_in_the_chain_is_unknown():
    decision = inspected(resealed(signer=a_signer("stranger")), due=DUE)
    assert (decision.status, code(decision)) == (401, "unknown_key")


def test_fault_02_a_key_for_another_use_signs_no_envelopes():
    keys = (
        StatementKey.of(a_signer("other"), nbf=NOW - DAY),
        StatementKey.of(SIGNER, nbf=NOW - DAY, use="log"),
    )
    decision = inspected(GOOD.token, due=DUE, chain=tree(keys=keys))
    assert (decision.status, code(decision)) == (401, "unknown_key")


@pytest.mark.parametrize(
    ("nbf", "exp", "good"), [(-DAY, None, True), (-DAY, 0, True), (-DAY, -1, False), (301, None, False)]
)
def test_step_4_an_envelope_is_signed_in_the_life_of_its_key(nbf, exp, good):
    key = StatementKey.of(SIGNER, nbf=NOW + nbf, exp=None if exp is None else NOW + exp)
    other = StatementKey.of(a_signer("other"), nbf=NOW - DAY)
    decision = inspected(GOOD.token, due=DUE, chain=tree(keys=(other, key)), now=NOW + 60)
    assert isinstance(decision, Accept if good else Refuse)


def test_step_4_an_expired_chain_is_refused_unsigned():
    decision = inspected(GOOD.token, due=DUE, now=NOW + 400 * DAY)
    assert (decision.status, code(decision)) == (401, "chain_expired")


@pytest.mark.parametrize("state", ["suspended", "revoked"])
def test_step_4_who_is_suspended_or_revoked_is_refused_unsigned(state):
    decision = inspected(GOOD.token, due=DUE, chain=tree(state=state))
    assert (decision.status, code(decision)) == (403, "revoked")


def test_fault_06_the_judge_of_keys_sees_what_the_key_signed_and_where():
    asked = []

    def judge(chain, kid, envelope):
        asked.append((chain.subject, kid, envelope.seq))
        if envelope.seq > 1:
            raise ForbiddenError("federation.exchange.wrong_iss", field="kid", value="", right="")

    one, two = lane_of(2)
    assert isinstance(inspected(one.token, due=due_for(one), judge=judge), Accept)
    decision = inspected(two.token, due=due_for(two), judge=judge)
    assert (decision.status, code(decision)) == (403, "revoked")
    assert asked == [(WORKS, SIGNER.kid, 1), (WORKS, SIGNER.kid, 2)]


@pytest.mark.parametrize("place", [-1, -40, 200])
def test_fault_01_a_changed_byte_is_a_bad_signature(place):
    raw = bytearray(GOOD.token.encode())
    raw[place] = ord("A") if raw[place] != ord("A") else ord("Q")
    decision = inspected(bytes(raw), due=DUE)
    assert (decision.status, code(decision)) in {(401, "bad_signature"), (400, "bad_token")}


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256"])
def test_fault_01_the_row_of_the_key_decides_the_algorithm(alg):
    head = b64u(orjson.dumps({"alg": alg, "kid": SIGNER.kid, "typ": ENVELOPE_TYPE}))
    data = f"{head}.{b64u(GOOD.parsed.payload)}"
    decision = inspected(f"{data}.{b64u(SIGNER.sign(data.encode()))}", due=DUE)
    assert (decision.status, code(decision)) == (401, "bad_signature")


def test_a_chain_that_is_named_and_not_known_is_asked_for_with_a_signature():
    decision = inspected(GOOD.token, due=DUE, named=False)
    assert decision == Hold("stale_chain", None)
    assert decision.status == 425
    assert inspected(resealed(signer=a_signer("x")), due=DUE, named=False).status == 401


# step 6

POISON = {
    "duplicate": b'{"iss":"a","iss":"b"}',
    "nan": b'{"body":NaN}',
    "integer": b'{"body":9007199254740993}',
    "surrogate": b'{"body":"\\ud800"}',
    "deep": b'{"body":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "large": b'{"body":"' + b"x" * 180_000 + b'"}',
    "empty": b"",
}


@pytest.mark.parametrize("name", POISON)
def test_fault_17_poison_uses_up_its_number_and_blocks_nothing(name):
    token = resealed(raw=POISON[name])
    decision = inspected(token, due=DUE, at=(1, 1))
    assert isinstance(decision, Reject)
    assert (code(decision), decision.position) == ("bad_json", DUE)
    assert CODES[decision.code].outcome in FINAL


@given(st.binary(max_size=200))
def test_fault_17_whatever_is_signed_at_its_number_is_answered_with_a_final_rejection(raw):
    decision = inspected(resealed(raw=raw), due=DUE, at=(1, 1))
    assert code(decision) == "bad_json"


@pytest.mark.parametrize(("at", "expected"), [((1, 3), "gap"), ((2, 1), "unknown_epoch")])
def test_fault_17_poison_out_of_order_is_not_due(at, expected):
    decision = inspected(resealed(raw=b"{}"), due=DUE, at=at)
    assert decision == Hold(expected, Expected(1, 1))


def test_fault_17_poison_in_a_batch_has_no_number_and_is_asked_for_alone():
    decision = inspected(resealed(raw=b"{}"), due=DUE)
    assert (decision.status, code(decision)) == (400, "position_needed")


def test_fault_17_poison_under_a_number_that_is_taken_is_an_equivocation():
    decision = inspected(resealed(raw=b"{}"), due=DUE.after(GOOD.env), at=(1, 1), occupant=KNOWN)
    assert (code(decision), decision.other) == ("equivocation", GOOD.env)


@pytest.mark.parametrize("change", [{"at": (1, 2)}, {"stream": "flow"}])
def test_an_envelope_at_another_url_than_its_own_is_unreadable_there(change):
    due = Position(1, 2, GOOD.env) if "at" in change else DUE
    decision = inspected(GOOD.token, due=due, **{"at": (1, 1), **change})
    assert code(decision) == "bad_json"


# step 7


def test_fault_07_an_envelope_for_somebody_else_is_misdirected_and_uses_up_nothing():
    decision = inspected(sealed(aud=TOP).token, due=Position(1, 9, GOOD.env))
    assert isinstance(decision, Hold)
    assert (decision.status, code(decision), decision.error.field) == (421, "wrong_aud", "aud")


def test_fault_07_an_envelope_of_somebody_else_is_misdirected():
    decision = inspected(GOOD.token, due=DUE, peer=PARK, chain=TREE.verified("88.107.1001"))
    assert (decision.status, code(decision)) == (421, "wrong_iss")
    keys = (StatementKey.of(SIGNER, nbf=NOW - DAY),)
    shared = a_chain("88", "88.107", "88.107.1002", changed={"88.107.1002": {"keys": keys}})
    decision = inspected(GOOD.token, due=DUE, peer=shared.prefix, chain=shared.verified())
    assert (decision.status, code(decision), decision.error.field) == (421, "wrong_iss", "iss")


def test_fault_07_what_cannot_be_read_is_not_rejected_in_the_name_of_another():
    shared = a_chain(
        "88",
        "88.107",
        "88.107.1002",
        changed={"88.107.1002": {"keys": (StatementKey.of(SIGNER, nbf=NOW - DAY),)}},
    )
    for token in (resealed(raw=b"{}"), GOOD.token):
        decision = inspected(token, due=DUE, at=(1, 1), chain=shared.verified())
        assert (decision.status, code(decision)) == (421, "wrong_iss")


def test_the_lane_of_what_cannot_be_read_is_that_of_the_session():
    one = Inspection(
        resealed(raw=b"{}"), peer=WORKS, stream="flow", receiver=PARK, mine=PARK.__eq__, at=(1, 4)
    )
    one.unseal()
    assert (one.lane, one.place, one.envelope) == ((WORKS, PARK, "flow"), (1, 4), None)
    two = Inspection(GOOD.token.encode(), peer=WORKS, stream="register", receiver=TOP, mine=PARK.__eq__)
    two.unseal()
    assert (two.lane, two.place, two.env, two.kid) == (
        (WORKS, PARK, "register"),
        (1, 1),
        GOOD.env,
        SIGNER.kid,
    )


# steps 8, 9


def test_fault_10_another_envelope_under_a_used_number_is_an_equivocation():
    other = sealed(body={"changed": True})
    decision = inspected(other.token, due=DUE.after(GOOD.env), occupant=KNOWN)
    assert isinstance(decision, Hold)
    assert (decision.status, code(decision), decision.other) == (409, "equivocation", GOOD.env)
    assert decision.expected == Expected(1, 2)
    second = lane_of(2)[1]
    decision = inspected(second.token, due=due_for(second).after(second.env), occupant=KNOWN)
    assert (code(decision), decision.error.params["value"]) == ("equivocation", "1/2")


def test_step_8_the_same_envelope_under_its_number_is_a_duplicate():
    assert inspected(GOOD.token, due=DUE.after(GOOD.env), occupant=KNOWN) == Duplicate(KNOWN)


def test_step_8_what_comes_too_soon_is_told_what_is_expected():
    many = lane_of(3)
    assert inspected(many[2].token, due=due_for(many[0])) == Hold("gap", Expected(1, 1))
    assert inspected(many[2].token, due=due_for(many[1])) == Hold("gap", Expected(1, 2))


@pytest.mark.parametrize(("epoch", "due"), [(2, 1), (1, 2)])
def test_step_8_another_epoch_is_unknown(epoch, due):
    one = sealed(position=Position(epoch, 1, GOOD.env))
    assert inspected(one.token, due=Position(due, 5, GOOD.env)) == Hold("unknown_epoch", Expected(due, 5))


def test_step_8_a_number_whose_receipt_is_gone_is_never_taken_twice():
    decision = inspected(GOOD.token, due=Position(1, 2, GOOD.env))
    assert (decision.status, code(decision), decision.error.params["value"]) == (503, "not_kept", "1/1")


def test_step_9_an_envelope_follows_the_one_before():
    decision = inspected(GOOD.token, due=Position(1, 1, "A" * 43))
    assert isinstance(decision, Reject)
    assert (code(decision), decision.position.seq) == ("bad_prev", 1)


# steps 10, 11


@pytest.mark.parametrize("stream", ["alarm", "query", "register", "flow", "catalogue", "report"])
def test_step_10_the_operation_of_the_stream_must_be_granted(stream):
    names = WORKS, Permission.THIS_HANDLE
    one = sealed(stream=stream, type="x")
    without = frozenset({"alarm", "query", "register", "flow", "catalogue", "report"} - {stream})
    for operations, expected in ((frozenset({stream}), "unknown_type"), (without, "forbidden_op")):
        chain = tree(perms=(Right(*names, operations),))
        decision = inspected(one.token, due=due_for(one), stream=stream, chain=chain)
        assert code(decision) == expected if isinstance(decision, Reject) else decision.code == expected


def test_step_10_control_needs_no_operation():
    chain = tree(perms=(Right(WORKS, Permission.THIS_HANDLE, frozenset({"alarm"})),))
    one = sealed(stream="control", type="x")
    assert isinstance(inspected(one.token, due=due_for(one), stream="control", chain=chain), Accept)
    one = sealed(stream="control", type="x", body={"prefix": "88.107"})
    assert code(inspected(one.token, due=due_for(one), stream="control", chain=chain)) == "forbidden_prefix"


def test_step_10_a_type_comes_on_its_own_stream():
    one = sealed(stream="flow")
    assert code(inspected(one.token, due=due_for(one), stream="flow")) == "forbidden_op"


def test_step_10_the_sender_itself_must_be_among_its_names():
    chain = tree(perms=(Right(WORKS, Permission.HANDLES_UNDER, frozenset({"register"})),))
    decision = inspected(GOOD.token, due=DUE, chain=chain)
    assert (code(decision), decision.error.field) == ("forbidden_prefix", "iss")


def test_fault_03_one_bad_identifier_among_a_thousand_refuses_all():
    entries = [{"identifier": f"88.107.1001/B{number}"} for number in range(1000)]
    one = sealed(body={"entries": entries})
    assert isinstance(inspected(one.token, due=due_for(one)), Accept)
    entries[700] = {"identifier": "88.107.10010/B700"}
    one = sealed(body={"entries": entries})
    decision = inspected(one.token, due=due_for(one))
    assert isinstance(decision, Reject)
    assert code(decision) == "forbidden_prefix"
    assert decision.error.field == "body.entries[700].identifier"
    assert "88.107.10010/B700" in decision.error.message("en")


def test_fault_03_identifiers_of_types_nobody_knows_are_looked_at_as_well():
    one = sealed(type="later", body={"a": [{"subject": "88.107.1002/X"}]})
    assert code(inspected(one.token, due=due_for(one))) == "forbidden_prefix"


def test_step_10_identifiers_only_the_handler_knows_of_are_looked_at_too():
    one = sealed(body={"entries": [], "serial": "88.107.1002/S"})
    assert code(inspected(one.token, due=due_for(one))) == "forbidden_prefix"
    one = sealed(body={"entries": [], "serial": "88.107.1001/S"})
    assert isinstance(inspected(one.token, due=due_for(one)), Accept)


@pytest.mark.parametrize("body", [None, [], {"entries": 5}])
def test_step_11_a_body_that_breaks_a_known_schema_is_rejected_for_good(body):
    one = sealed(body=body)
    assert code(inspected(one.token, due=due_for(one))) == "bad_schema"


@pytest.mark.parametrize(
    ("change", "expected"), [({"type": "later"}, "unknown_type"), ({"schema": "T9/2"}, "unknown_schema")]
)
def test_step_11_what_is_newer_is_kept_unapplied(change, expected):
    one = sealed(**change)
    decision = inspected(one.token, due=due_for(one))
    assert isinstance(decision, Accept)
    assert (decision.code, decision.outcome, decision.rules) == (expected, "unapplied", None)


# a body beside its envelope

BESIDE = sealed(body={"entries": [], "text": "x" * 70_000})
DATA = BESIDE.detached.data


def test_a_body_beside_is_waited_for_and_then_read_as_strictly():
    missing = inspected(BESIDE.token, due=due_for(BESIDE))
    assert (missing.line().status, code(missing)) == (424, "body_missing")
    decision = inspected(BESIDE.token, due=due_for(BESIDE), data=DATA)
    assert isinstance(decision, Accept)
    assert decision.body["text"] == "x" * 70_000


def test_a_body_beside_is_waited_for_only_when_its_number_is_due():
    due = first_position(WORKS, PARK, "register")
    second = sealed(position=due.after(GOOD.env), body=BESIDE.detached)
    assert inspected(second.token, due=due) == Hold("gap", Expected(1, 1))


@pytest.mark.parametrize("data", [b"{}", b"[" * len(DATA), b"\xff" * len(DATA)])
def test_fault_17_a_body_beside_that_cannot_be_read_is_rejected_for_good(data):
    assert code(inspected(BESIDE.token, due=due_for(BESIDE), data=data)) == "bad_json"


def test_bytes_of_another_media_type_are_handed_on_as_they_are():
    one = sealed(body=b"\x00PK", type="later")
    decision = inspected(one.token, due=due_for(one), data=b"\x00PK")
    assert decision.body == b"\x00PK"


# the class itself


def test_a_step_left_out_is_a_mistake_of_ours():
    one = Inspection(GOOD.token.encode(), peer=WORKS, stream="register", receiver=PARK, mine=PARK.__eq__)
    for act in (lambda: one.env, lambda: one.settle(DUE)):
        with pytest.raises(InternalError):
            act()
    one.unseal()
    with pytest.raises(InternalError):
        one.settle(DUE)
    one.content(SomeHandlers())
    assert one.authenticate(TREE.verified(), now=NOW) is None
    with pytest.raises(InternalError):
        one.settle(DUE)
    one.content(SomeHandlers())
    assert isinstance(one.settle(DUE), Accept)


def test_without_the_signature_nothing_is_said_in_our_name():
    for token in (resealed(raw=b"{}"), GOOD.token.encode(), BESIDE.token.encode()):
        one = Inspection(token, peer=WORKS, stream="register", receiver=PARK, mine=PARK.__eq__, at=(1, 1))
        assert one.unseal() is None
        one.content(SomeHandlers())
        with pytest.raises(InternalError):
            one.settle(DUE)


def test_what_cannot_be_read_has_no_body_to_wait_for():
    one = Inspection(resealed(raw=b"{}"), peer=WORKS, stream="register", receiver=PARK, mine=PARK.__eq__)
    one.unseal()
    assert one.wants_body is None


def test_a_body_that_cannot_be_read_is_shown_to_no_handler():
    class Unasked(ADevice):
        def check(self, body):
            raise AssertionError(body)

    handlers = SomeHandlers({("dataset.entries", "T9/1"): Unasked()})
    for data in (b"[" * len(DATA), DATA + b" ", DATA[:-1]):
        decision = inspected(BESIDE.token, due=due_for(BESIDE), data=data, handlers=handlers)
        assert code(decision) == "bad_json"


@pytest.mark.parametrize("kind", [MalformedError, InvalidValueError, LimitError])
def test_whatever_a_handler_finds_wrong_is_a_final_rejection(kind):
    class Strict(ADevice):
        def check(self, body):
            raise kind("registry.trust.claim_missing", field="body")

    handlers = SomeHandlers({("dataset.entries", "T9/1"): Strict()})
    assert code(inspected(GOOD.token, due=DUE, handlers=handlers)) == "bad_schema"


def test_a_judge_that_does_not_trust_is_heard_as_well():
    def judge(chain, kid, envelope):
        raise UntrustedError("registry.trust.kid_unknown", field="kid", value=kid, subject="")

    assert inspected(GOOD.token, due=DUE, judge=judge).status == 403


def test_a_final_rejection_is_in_order_before_rights_are_looked_at():
    far = sealed(position=Position(1, 5, GOOD.env), body={"identifier": "88.9/X"})
    assert inspected(far.token, due=DUE) == Hold("gap", Expected(1, 1))
    wrong = sealed(body={"identifier": "88.9/X"})
    assert code(inspected(wrong.token, due=Position(1, 1, "A" * 43))) == "bad_prev"


def test_what_a_handler_refuses_otherwise_is_no_rejection():
    class Broken(ADevice):
        def check(self, body):
            raise UntrustedError("federation.exchange.wrong_iss", value="", right="")

    handlers = SomeHandlers({("dataset.entries", "T9/1"): Broken()})
    with pytest.raises(UntrustedError):
        inspected(GOOD.token, due=DUE, handlers=handlers)
