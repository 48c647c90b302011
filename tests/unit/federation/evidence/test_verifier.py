"""What the stand-alone verifier says yes to, and what it does not."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.evidence import verifier
from federation.evidence.verifier import EvidenceError, canonical, verify
from registry.trust import jws
from registry.trust.encoding import b64u
from registry.trust.statement import StatementKey, full_rights
from tests.support.evidence import (
    ANOTHER,
    ENTERPRISE,
    PARK,
    TOP,
    World,
    a_revocation,
    a_world,
    an_envelope,
    evidence,
    inner_evidence,
)
from tests.support.trust import DAY, a_signer, altered

WORLD = a_world()


def judged(content: dict[str, Any], world: World = WORLD, **options: Any) -> verifier.Finding:
    return verify(canonical(content), world.anchor, **options)


def code_of(content: dict[str, Any], world: World = WORLD, **options: Any) -> str:
    found = judged(content, world, **options)
    assert not found.holds
    assert found.error is not None
    assert found.text("zh") != found.text("en")
    return found.error.code


# --- yes -----------------------------------------------------------------------------------------------------------


def test_it_says_who_sent_what_when_and_that_it_was_received() -> None:
    found = judged(evidence(WORLD, own_log=True))

    assert found.holds, found.text("en")
    assert found.status == 0
    facts = found.facts
    assert (facts["sender"], facts["receiver"]) == (ENTERPRISE, PARK)
    assert (facts["stream"], facts["epoch"], facts["seq"]) == ("register", 1, 7)
    assert (facts["sent_at"], facts["received_at"]) == (WORLD.at - 5, WORLD.at)
    assert (facts["outcome"], facts["code"]) == ("accepted", "ok")
    assert facts["log"]["witnesses"] == [{"name": f"{TOP}/witness", "prefix": TOP, "at": WORLD.at + 3}]
    assert facts["ack_log"]["index"] == facts["sender_log"]["index"] + 1
    assert json.loads(json.dumps(found.as_json()))["holds"] is True


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_fault_22_evidence_of_each_of_three_generations_of_keys_holds(generation: int) -> None:
    world = a_world(generation)

    assert judged(evidence(world), world).holds
    assert len(world.roots) == 3


@pytest.mark.parametrize(
    ("envelope", "options"),
    [
        ({"inline_chain": False}, {}),
        ({"stream": "control", "type": "key.rotate"}, {}),
        ({}, {"receipt": {"outcome": "unapplied", "code": "unknown_type"}}),
        (
            {"body": {"identifier": "88.999/1"}},
            {"receipt": {"outcome": "rejected", "code": "forbidden_prefix"}},
        ),
        ({"raw": b'{"a":NaN}'}, {"receipt": {"outcome": "rejected", "code": "bad_json"}}),
        ({"iat": WORLD.at - 30 * DAY}, {}),
    ],
    ids=["chain-by-digest", "control", "unapplied", "rejected", "bad-json", "queued-for-long"],
)
def test_what_was_received_is_proved_whatever_became_of_it(
    envelope: dict[str, Any], options: dict[str, Any]
) -> None:
    found = judged(evidence(WORLD, envelope=an_envelope(WORLD, **envelope), **options))

    assert found.holds, found.text("en")
    assert found.text("zh").startswith("成立")


def test_es256_keys_are_good_too() -> None:
    world = a_world(alg="ES256")

    assert judged(evidence(world), world).holds


def _detached(raw: bytes, **claims: Any) -> str:
    content = {
        "body": None,
        "body_sha256": b64u(hashlib.sha256(raw).digest()),
        "body_len": len(raw),
        "body_type": "application/json",
        **claims,
    }
    return an_envelope(WORLD, **content)


def test_a_detached_body_is_held_against_its_digest() -> None:
    raw = orjson.dumps({"identifier": f"{ENTERPRISE}/BATCH-1"})

    assert judged(evidence(WORLD, envelope=_detached(raw), body=raw)).facts["body"] == json.loads(raw)
    assert code_of(evidence(WORLD, envelope=_detached(raw), body=raw + b" ")) == "differs"
    assert code_of(evidence(WORLD, envelope=_detached(raw, body_len=1), body=raw)) == "differs"
    without = judged(evidence(WORLD, envelope=_detached(raw)))
    assert without.holds
    assert ("body_elsewhere", {"digest": b64u(hashlib.sha256(raw).digest())}) in without.notices


# --- relays --------------------------------------------------------------------------------------------------------


def _relay(token: str, world: World = WORLD, **claims: Any) -> str:
    body = {"token": token, "chain": world.chain(ENTERPRISE)}
    return an_envelope(world, PARK, TOP, **{"type": "relay", "schema": "relay/1", "body": body, **claims})


def _relayed(token: str, **options: Any) -> dict[str, Any]:
    return evidence(WORLD, envelope=_relay(token), sender=PARK, receiver=TOP, witness=ANOTHER, **options)


def test_a_relayed_token_is_proved_by_the_chain_that_travelled_with_it() -> None:
    found = judged(_relayed(an_envelope(WORLD)))

    assert found.holds, found.text("en")
    assert (found.facts["sender"], found.facts["inner"]["sender"]) == (PARK, ENTERPRISE)
    assert ENTERPRISE in found.text("en")


def test_the_evidence_of_a_relayed_token_can_stand_inside() -> None:
    token = an_envelope(WORLD)
    key = WORLD.logs[ANOTHER].as_witness(f"{ANOTHER}/witness")
    inside = inner_evidence(WORLD, token, witnesses=[(key, WORLD.at + 3)])

    found = judged(_relayed(token, inner=inside))

    assert found.holds, found.text("en")
    assert found.facts["inner"]["log"]["origin"] == WORLD.logs[PARK].name
    for name in inside:
        broken = {**inside, name: inside[name][:-1] if isinstance(inside[name], list) else inside[name] + "A"}
        assert not judged(_relayed(token, inner=broken)).holds


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": f"0.NA/{TOP}"}, "differs"),
        ({"iss": f"0.NA/{ANOTHER}"}, "differs"),
        ({"signer": a_signer("stranger")}, "signer"),
        ({"body": {"identifier": f"{ANOTHER}/BATCH-1"}}, "rights"),
    ],
)
def test_fault_07_a_relay_lends_no_right_to_what_it_carries(claims: dict[str, Any], code: str) -> None:
    assert code_of(_relayed(an_envelope(WORLD, **claims))) == code


def test_a_relay_of_a_relay_is_followed_to_the_origin() -> None:
    first = an_envelope(WORLD)
    second = _relay(first)
    third = an_envelope(
        WORLD,
        TOP,
        ANOTHER,
        type="relay",
        schema="relay/1",
        body={"token": second, "chain": WORLD.chain(PARK)},
    )

    found = judged(evidence(WORLD, envelope=third, sender=TOP, receiver=ANOTHER, witness=PARK))

    assert found.holds, found.text("en")
    assert found.facts["inner"]["inner"]["sender"] == ENTERPRISE


# --- no ------------------------------------------------------------------------------------------------------------

_CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("other sender signed", {"signer": a_signer("stranger")}, {}, "signer"),
    ("sent to another", {"aud": f"0.NA/{ANOTHER}"}, {}, "differs"),
    ("in another's name", {"iss": f"0.NA/{ANOTHER}"}, {}, "differs"),
    ("other number", {"seq": 8}, {"receipt": {"seq": 7}}, "differs"),
    ("control with names of another", {"stream": "control", "body": {"handle": "88.1/x"}}, {}, "rights"),
    ("names in arrays of arrays", {"body": {"identifiers": [["88.107.1001/1", "88.1/2"]]}}, {}, "rights"),
    ("a name too long", {"body": {"identifier": f"{ENTERPRISE}/" + "x" * 255}}, {}, "rights"),
    ("identifier of another", {"body": {"deep": [{"handle": f"0.NA/{ANOTHER}"}]}}, {}, "rights"),
    ("bare prefix of another", {"body": {"prefix": "88.107.10011"}}, {}, "rights"),
    ("receipt for another envelope", {}, {"receipt": {"env": b64u(bytes(32))}}, "differs"),
    ("receipt for another sender", {}, {"receipt": {"aud": f"0.NA/{ANOTHER}"}}, "differs"),
    ("receipt of another", {}, {"receipt": {"iss": f"0.NA/{ANOTHER}"}}, "differs"),
    ("receipt by another key", {}, {"receipt_signer": a_signer("stranger")}, "signer"),
    ("a retry is no receipt", {}, {"receipt": {"outcome": "retry", "code": "gap"}}, "outcome"),
    ("other leaf in the receipt", {}, {"receipt": {"leaf": b64u(bytes(32))}}, "differs"),
    ("other index in the receipt", {}, {"receipt": {"leaf_index": 4}}, "differs"),
    ("leaf of another kind", {}, {"leaf": {"kind": "out"}}, "differs"),
    ("leaf with another outcome", {}, {"leaf": {"code": "business"}}, "differs"),
    ("leaf with an unknown member", {}, {"leaf": {"more": 1}}, "members"),
    ("leaf without its outcome", {}, {"leaf": {"rcpt": "x"}}, "members"),
    ("received before the chain was good", {}, {"receipt": {"received_at": WORLD.at - 2 * DAY}}, "signer"),
    ("received after it expired", {}, {"receipt": {"received_at": WORLD.at + 100 * DAY}}, "time"),
    ("witnessed before it was received", {}, {"witnessed_at": WORLD.at - 400}, "early"),
    ("nobody witnessed", {}, {"witness": None}, "unwitnessed"),
    ("witnessed by the log's own node", {}, {"witness": PARK}, "witness"),
]


@pytest.mark.parametrize(
    ("envelope", "options", "code"), [row[1:] for row in _CHANGES], ids=[r[0] for r in _CHANGES]
)
def test_what_does_not_fit_together_is_refused(
    envelope: dict[str, Any], options: dict[str, Any], code: str
) -> None:
    assert code_of(evidence(WORLD, envelope=an_envelope(WORLD, **envelope), **options)) == code


def test_without_a_witness_it_holds_only_when_that_is_asked_for() -> None:
    found = judged(evidence(WORLD, witness=None), require_witness=False)

    assert found.holds
    assert ("unwitnessed", {}) in found.notices


def test_another_anchor_is_another_world() -> None:
    data = canonical(evidence(WORLD))

    found = verify(data, b64u(bytes(32)))

    assert not found.holds
    assert found.error is not None
    assert found.error.code == "anchor"


def _edit(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = evidence(WORLD, own_log=True)
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda c: c.update(more=1), "members"),
        (lambda c: c.pop("receipt"), "members"),
        (lambda c: c.pop("sender_proof"), "members"),
        (lambda c: c.update(inner={}), "relay"),
        (lambda c: c.update(roots=[]), "root"),
        (lambda c: c.update(roots=c["roots"][1:]), "root"),
        (lambda c: c.update(roots=[c["roots"][0], c["roots"][2]]), "root"),
        (lambda c: c["witnesses"].append({"vkey": WORLD.logs[ANOTHER].vkey, "chain": []}), "witness"),
        (lambda c: c["witnesses"].append(c["witnesses"][0]), "members"),
        (lambda c: c.update(witnesses=[]), "note"),
        (lambda c: c.update(sender_chain=c["sender_chain"][1:]), "differs"),
        (lambda c: c.update(sender_chain=c["sender_chain"][:1]), "chain"),
        (lambda c: c.update(receiver_chain=WORLD.chain(TOP)), "signer"),
        (lambda c: c.update(proof=c["sender_proof"]), "differs"),
        (lambda c: c.update(ack_leaf=c["sender_leaf"]), "differs"),
        (lambda c: c.update(proof=c["proof"].replace("index 5", "index 05")), "type"),
        (lambda c: c.update(proof=c["proof"].replace("index 5", "extra AA==\nindex 5")), "type"),
        (lambda c: c.update(type="hazlink-evidence/v2"), "version"),
        (lambda c: c.update(proof=None), "type"),
        (lambda c: c.update(sender_chain=7), "type"),
        (lambda c: c.update(envelope=None), "token"),
    ],
)
def test_what_is_missing_or_too_much_is_refused(
    change: Callable[[dict[str, Any]], object], code: str
) -> None:
    assert code_of(_edit(change)) == code


def test_an_unknown_version_is_not_judged() -> None:
    assert judged(_edit(lambda c: c.update(type="hazlink-evidence/v9"))).status == 2


@pytest.mark.parametrize(
    "spelling",
    [
        lambda data: data + b"\n",
        lambda data: data[:-1],
        lambda data: b" " + data,
        lambda data: json.dumps(json.loads(data)).encode() + b"\n",
        lambda data: data.replace(b"\\u2014", "—".encode()),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda _data: b"",
        lambda _data: b"[]\n",
        lambda _data: b"[" * 100_000,
        lambda _data: b'{"type":NaN}\n',
        lambda _data: b'{"type":1e999}\n',
        lambda data: data[:-2] + b',"type":"hazlink-evidence/v1"}\n',
        lambda _data: b'{"type":"\\ud800"}\n',
        lambda _data: b'{"type":9007199254740993}\n',
    ],
)
def test_another_spelling_of_the_same_is_refused(spelling: Callable[[bytes], bytes]) -> None:
    found = verify(spelling(canonical(evidence(WORLD))), WORLD.anchor)

    assert found.status == 1


# --- every byte ----------------------------------------------------------------------------------------------------

_WHOLE = canonical(
    evidence(
        WORLD,
        own_log=True,
        revocations=[a_revocation(WORLD, PARK, a_signer("somebody else").kid, WORLD.at + DAY)],
    )
)
_TOKEN = an_envelope(WORLD)
_NESTED = canonical(
    _relayed(
        _TOKEN,
        inner=inner_evidence(
            WORLD,
            _TOKEN,
            witnesses=[(WORLD.logs[ANOTHER].as_witness(f"{ANOTHER}/witness"), WORLD.at + 3)],
        ),
    )
)


def _flipped(data: bytes, place: int, bits: int) -> bytes:
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([_WHOLE, _NESTED]), st.data())
def test_fault_22_any_changed_byte_makes_it_say_no(data: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    bits = draw.draw(st.integers(1, 255))

    assert verify(_flipped(data, place, bits), WORLD.anchor).status in {1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("data", [_WHOLE, _NESTED], ids=["whole", "relayed"])
def test_fault_22_a_changed_byte_makes_it_say_no_wherever_it_stands(data: bytes) -> None:
    assert verify(data, WORLD.anchor).holds

    for place in range(0, len(data), 5):
        assert not verify(_flipped(data, place, 1 << place % 7), WORLD.anchor).holds


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_bytes_cut_out_or_put_in_are_noticed(draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(_WHOLE) - 1))
    end = draw.draw(st.integers(start, len(_WHOLE)))
    more = draw.draw(st.binary(max_size=40))
    changed = _WHOLE[:start] + more + _WHOLE[end:]
    if changed == _WHOLE:
        return

    assert not verify(changed, WORLD.anchor).holds


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_garbage_is_no_evidence_and_no_crash(data: bytes) -> None:
    assert not verify(data, WORLD.anchor).holds


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(json.loads(_WHOLE))), _JSON)
def test_anything_else_in_the_place_of_a_member_is_refused_plainly(name: str, value: Any) -> None:
    content = json.loads(_WHOLE)
    if content[name] == value or (name in {"historical", "revocations"} and value == []):
        return
    content[name] = value

    assert judged(content).status in {1, 2}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        ["env", "iss", "aud", "stream", "epoch", "seq", "outcome", "received_at", "leaf_index", "leaf"]
    ),
    _JSON,
)
def test_a_receipt_that_says_anything_else_is_refused_plainly(name: str, value: Any) -> None:
    assert judged(evidence(WORLD, receipt={name: value})).status in {1, 2}


# --- revocation ----------------------------------------------------------------------------------------------------


def test_fault_06_what_was_witnessed_before_a_revocation_stands_and_is_told() -> None:
    kid = WORLD.signers[ENTERPRISE].kid
    later = a_revocation(WORLD, PARK, kid, WORLD.at + DAY)

    found = judged(evidence(WORLD, revocations=[later]))

    assert found.holds, found.text("en")
    assert any(code == "revoked_later" and params["kid"] == kid for code, params in found.notices)


@pytest.mark.parametrize("who", [ENTERPRISE, PARK])
def test_fault_06_nothing_can_be_dated_back_behind_a_revocation(who: str) -> None:
    above = {ENTERPRISE: PARK, PARK: TOP}[who]
    revoked = a_revocation(WORLD, above, WORLD.signers[who].kid, WORLD.at + 60)

    # signed and received "before", but nobody saw it until after the revocation
    content = evidence(WORLD, revocations=[revoked], witnessed_at=WORLD.at + 120)

    assert code_of(content) == "revoked"


def test_a_witness_that_rests_on_the_revoked_key_is_no_witness() -> None:
    kid = WORLD.signers[PARK].kid  # signed the statement about the witness too
    revoked = a_revocation(WORLD, TOP, kid, WORLD.at + DAY)

    assert code_of(evidence(WORLD, witness=ANOTHER, revocations=[revoked])) == "revoked"
    assert judged(evidence(WORLD, witness=TOP, revocations=[revoked])).holds


def test_a_revoked_log_or_witness_key_counts_too() -> None:
    log = WORLD.logs[PARK].signer.kid
    witness = WORLD.logs[TOP].signer.kid

    for kid, above in ((log, TOP), (witness, None)):
        revoked = a_revocation(WORLD, above, kid, WORLD.at - 60)
        more = (
            [] if kid == log else [a_revocation(WORLD, PARK, WORLD.signers[ENTERPRISE].kid, WORLD.at + DAY)]
        )
        assert code_of(evidence(WORLD, revocations=[revoked, *more])) == "revoked"


def test_what_lies_beyond_the_last_good_position_does_not_stand() -> None:
    kid = WORLD.signers[ENTERPRISE].kid
    good = a_revocation(WORLD, PARK, kid, WORLD.at + DAY, last_good={"register": {"epoch": 1, "seq": 7}})
    late = a_revocation(WORLD, PARK, kid, WORLD.at + DAY, last_good={"register": {"epoch": 1, "seq": 6}})

    assert judged(evidence(WORLD, revocations=[good])).holds
    assert code_of(evidence(WORLD, revocations=[late])) == "beyond"


def test_lists_from_elsewhere_count_like_those_of_the_file() -> None:
    revoked = a_revocation(WORLD, PARK, WORLD.signers[ENTERPRISE].kid, WORLD.at - 60)

    assert code_of(evidence(WORLD), revocations=[revoked]) == "revoked"


def test_a_list_by_somebody_else_or_of_another_type_is_refused() -> None:
    kid = WORLD.signers[ENTERPRISE].kid
    at = WORLD.at + DAY
    stranger = a_revocation(WORLD, PARK, kid, at, signer=a_signer("stranger"))
    of_another = {**a_revocation(WORLD, PARK, kid, at), "chain": WORLD.chain(TOP)}
    other_type = a_revocation(WORLD, PARK, kid, at, typ="hz-receipt+jws")

    assert code_of(evidence(WORLD, revocations=[stranger])) == "signer"
    assert code_of(evidence(WORLD, revocations=[of_another])) == "differs"
    assert code_of(evidence(WORLD, revocations=[other_type])) == "token"


def test_a_witness_certified_again_after_its_superior_was_compromised_counts_again() -> None:
    old, new = a_world(1), a_world(2)
    rows = (
        StatementKey.of(new.signers[ANOTHER], nbf=new.at - 3600),
        StatementKey.of(old.logs[ANOTHER].signer, nbf=old.at - 3600, exp=old.at + DAY, use="log"),
    )
    again = a_world(2, changed={ANOTHER: {"keys": rows}})
    revoked = a_revocation(old, TOP, old.signers[PARK].kid, old.at + DAY)

    first = evidence(old, witness=ANOTHER, revocations=[revoked])
    second = evidence(old, witness=ANOTHER, revocations=[revoked], witness_chain=again.chain(ANOTHER))
    unrelated = evidence(old, witness=ANOTHER, revocations=[revoked], witness_chain=new.chain(ANOTHER))

    assert code_of(first, old) == "revoked"
    assert judged(second, old).holds, judged(second, old).text("en")
    assert code_of(unrelated, old) == "witness"


@pytest.mark.parametrize(
    ("reason", "last", "witnessed", "holds"),
    [
        ("compromise", {}, 3, True),
        ("compromise", {}, 2 * DAY, False),
        ("compromise", {"register": {"epoch": 1, "seq": 9}}, 2 * DAY, False),
        ("anything newer", {}, 2 * DAY, False),
        ("superseded", {}, 2 * DAY, True),
        ("superseded", {"register": {"epoch": 1, "seq": 7}}, 2 * DAY, True),
        ("superseded", {"register": {"epoch": 1, "seq": 6}}, 3, False),
        ("superseded", {"alarm": {"epoch": 1, "seq": 9}}, 3, False),
        ("cessation", {"register": {"epoch": 2, "seq": 1}}, 2 * DAY, True),
        ("compromise", {"alarm": {"epoch": 1, "seq": 9}}, 3, False),
    ],
)
def test_fault_06_the_reason_decides_what_still_stands(
    reason: str, last: dict[str, Any], witnessed: int, holds: bool
) -> None:
    revoked = a_revocation(
        WORLD, PARK, WORLD.signers[ENTERPRISE].kid, WORLD.at + DAY, reason=reason, last_good=last
    )

    assert judged(evidence(WORLD, revocations=[revoked], witnessed_at=WORLD.at + witnessed)).holds is holds


def test_only_who_certified_a_key_can_revoke_it() -> None:
    by_another = a_revocation(WORLD, ANOTHER, WORLD.signers[ENTERPRISE].kid, WORLD.at - 60)

    assert judged(evidence(WORLD, revocations=[by_another])).holds


def test_of_two_lists_the_stricter_word_counts() -> None:
    kid = WORLD.signers[ENTERPRISE].kid
    mild = a_revocation(WORLD, PARK, kid, WORLD.at + DAY, reason="superseded")
    strict = a_revocation(WORLD, PARK, kid, WORLD.at - 60, reason="compromise")

    for lists in ([mild, strict], [strict, mild]):
        assert code_of(evidence(WORLD, revocations=lists)) == "revoked"


# --- historical keys -------------------------------------------------------------------------------------------------


def _history(world: World, kid_of: Any, *, use: str = "sig", **entry: Any) -> dict[str, Any]:
    row = {**kid_of.jwk, "kid": kid_of.kid, "alg": kid_of.alg, "use": use, "iat": world.at - DAY, **entry}
    claims = {
        "iss": f"300:0.NA/{PARK}",
        "sub": f"0.NA/{ENTERPRISE}",
        "ver": 3,
        "iat": world.at + DAY,
        "keys": [row],
    }
    return {
        "token": jws.sign(world.signers[PARK], "hz-keys+jws", orjson.dumps(claims)),
        "chain": world.chain(PARK),
    }


def test_a_key_that_left_its_statement_is_found_in_the_history() -> None:
    old = a_signer("the key before")
    token = an_envelope(WORLD, signer=old)

    assert code_of(evidence(WORLD, envelope=token)) == "signer"
    assert judged(evidence(WORLD, envelope=token, historical=[_history(WORLD, old)])).holds
    for entry in ({"exp": WORLD.at - 600}, {"use": "log"}, {"iat": WORLD.at + 3600}):
        assert (
            code_of(evidence(WORLD, envelope=token, historical=[_history(WORLD, old, **entry)])) == "signer"
        )
    revoked = _history(WORLD, old, revoked=WORLD.at - 60)
    assert code_of(evidence(WORLD, envelope=token, historical=[revoked])) == "revoked"


def test_a_chain_renewed_after_the_receipt_vouches_for_keys_used_before() -> None:
    renewed = a_world(
        changed={name: {"iat": WORLD.at + DAY, "nbf": WORLD.at + DAY, "ver": 2} for name in (TOP, PARK)}
        | {ENTERPRISE: {"iat": WORLD.at + DAY, "nbf": WORLD.at + DAY, "ver": 2}}
    )

    found = judged(evidence(WORLD) | {"receiver_chain": renewed.chain(PARK)})

    assert found.holds, found.text("en")
    assert ("certified_later", {}) in found.notices


# --- chains --------------------------------------------------------------------------------------------------------


def test_rights_at_the_time_of_receipt_decide() -> None:
    for change, code in (
        ({"perms": full_rights(verifier_prefix(ENTERPRISE), ("flow",))}, "rights"),
        ({"state": "suspended"}, "rights"),
        ({"keys": (StatementKey.of(a_signer(f"{ENTERPRISE}-1"), nbf=0, exp=WORLD.at - 600),)}, "signer"),
    ):
        world = a_world(changed={ENTERPRISE: change})
        assert code_of(evidence(world, envelope=an_envelope(world)), world) == code


def verifier_prefix(text: str) -> Any:
    from registry.identifier import Prefix

    return Prefix.parse(text)


def test_a_log_key_that_no_statement_certifies_is_refused() -> None:
    from registry.trust.statement import Endpoints

    world = a_world(changed={PARK: {"endpoints": Endpoints()}})

    assert code_of(evidence(world), world) == "log_key"


def test_a_statement_by_a_root_key_that_was_replaced_before_is_refused() -> None:
    late = a_world(2, changed={TOP: {"signer": a_signer("root-1-a")}})

    assert code_of(evidence(late), late) == "chain"


# --- fault 1: whatever can be done to a token -----------------------------------------------------------------------

Part = tuple[str, Callable[[dict[str, Any]], str]]


def _with_header(token: str, **header: Any) -> str:
    head, payload, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))) | header
    return ".".join((b64u(orjson.dumps(content)), payload, signature))


_ATTACKS: dict[str, Callable[[str], str]] = {
    "alg none": lambda token: _with_header(token, alg="none"),
    "alg HS256": lambda token: _with_header(token, alg="HS256"),
    "alg ES256": lambda token: _with_header(token, alg="ES256"),
    "crit": lambda token: _with_header(token, crit=["x"]),
    "jwk": lambda token: _with_header(token, jwk=a_signer("stranger").jwk),
    "jku": lambda token: _with_header(token, jku="https://attacker.example"),
    "x5u": lambda token: _with_header(token, x5u="https://attacker.example"),
    "typ": lambda token: _with_header(token, typ="JWT"),
    "kid": lambda token: _with_header(token, kid=a_signer("stranger").kid),
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "padded": lambda token: token + "=",
    "four segments": lambda token: token + ".AA",
    "other signature": lambda token: token.rpartition(".")[0] + "." + b64u(bytes(64)),
    "last character": lambda token: token[:-1] + ("B" if token[-1] != "B" else "C"),
}


@pytest.mark.parametrize("attack", _ATTACKS.values(), ids=_ATTACKS)
@pytest.mark.parametrize("part", ["envelope", "receipt", "sender_chain", "receiver_chain"])
def test_fault_01_a_token_tampered_with_is_refused(part: str, attack: Callable[[str], str]) -> None:
    content = evidence(WORLD, envelope=an_envelope(WORLD, inline_chain=False))
    whole = content[part]
    content[part] = attack(whole) if isinstance(whole, str) else [attack(whole[0]), *whole[1:]]

    assert code_of(content) in {"token", "signature", "signer", "differs", "alphabet"}


def test_fault_01_a_statement_with_an_unknown_critical_claim_is_refused() -> None:
    token = altered(
        WORLD.statements[PARK], WORLD.signers[TOP], crit=["perms", "ver", "algs", "max_path", "x"], x=1
    )
    world = a_world()
    world.statements[PARK] = token

    assert code_of(evidence(world), world) == "chain"


def test_fault_09_the_twin_of_an_es256_signature_proves_the_same_and_nothing_else() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    world = a_world(alg="ES256")
    content = evidence(world)
    head, _, signature = content["receipt"].rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")

    found = judged({**content, "receipt": f"{head}.{b64u(twin)}"}, world)

    assert found.facts == judged(content, world).facts
    assert found.holds


_LOW_ORDER = [
    "01" + "00" * 31,
    "01" + "00" * 30 + "80",
    "ee" + "ff" * 30 + "7f",
    "ee" + "ff" * 31,
    "ec" + "ff" * 30 + "7f",
    "ec" + "ff" * 31,
    "00" * 32,
    "00" * 31 + "80",
    "ed" + "ff" * 30 + "7f",
    "ed" + "ff" * 31,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize("raw", _LOW_ORDER)
def test_fault_02_a_key_of_low_order_certifies_nothing(raw: str) -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(bytes.fromhex(raw)), "alg": "Ed25519"}

    with pytest.raises(EvidenceError):
        verifier._key(jwk, ("Ed25519",), ())


def test_fault_21_rfc_8037_and_the_other_vectors_hold() -> None:
    jwk = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "alg": "Ed25519",
    }
    signed, _, signature = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
        ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    ).rpartition(".")
    key = verifier._key(jwk, ("Ed25519",), ())

    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert key.holds(signed.encode(), base64.urlsafe_b64decode(signature + "=="))


def test_fault_21_the_sm2_example_of_gb_t_32918_holds() -> None:
    x = "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    y = "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
    r = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    s = "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
    check = verifier._sm2(bytes.fromhex(x), bytes.fromhex(y))

    assert check(b"message digest", bytes.fromhex(r + s))
    assert not check(b"message digesT", bytes.fromhex(r + s))
    assert not check(b"message digest", bytes.fromhex(s + r))
    assert not check(b"message digest", bytes(64))
    with pytest.raises(EvidenceError):
        verifier._sm2(bytes.fromhex(x), bytes.fromhex(x))


# --- the worked example ----------------------------------------------------------------------------------------------

_EXAMPLE = """\
c2sp.org/tlog-proof@v1
index 2
J0ebarMh0u5HdFL2i6UndI6GPK/o+9HfK/idFXDRtpc=
LyelCCwdQq+kiKw1Cp/EOQwIT1T3Hs3/hZ6Y24QptHk=
GUu1otW9EOXRqm/V1CmAs1bK8dpiPNmYfEv6L4F3Htc=

node.example/log1
5
GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=

— node.example/log1 GTOnZ6LV45n4HrI8DkdXDlVt4py0WOmSedrc4R/If9tdaA4VzUXRWAkqGFFwDGeCfJmV+OFWfAJq2ksGn59CTUM1TgI=
— top.example/w1 6NfBIwAAAABqsTuA/0hnkBEXsKAE4YyzwA+m5vMeZFizGTHF9EkKURBeud2z644d7Skx6fC1N41rCjY7+Ch+vXSS3pW0m1uxr1WlBA==
"""
_LOG = "node.example/log1+1933a767+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
_WITNESS = "top.example/w1+e8d7c123+BD1AF8PoQ4lakrcKp00bfrycmCzPLsSWjMDNVfEq9GYM"


def test_fault_21_the_worked_example_of_a_proof_holds() -> None:
    proof = verifier._proof(_EXAMPLE, "example")
    log, witness = verifier._vkey(_LOG), verifier._vkey(_WITNESS)
    leaf = hashlib.sha256(b"\x00entry-2").digest()

    assert leaf.hex() == "049d7dcdb56bcfebd313304c9839f196a3d4b6ef3bdc0b08298f93ac8191f0a8"
    assert verifier.check_inclusion(leaf, 2, 5, proof.path, proof.checkpoint.root)
    proof.checkpoint.logged_by(log)
    assert proof.checkpoint.witnessed_by(witness) == 1_790_000_000


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n5\n", "\n05\n"),
        lambda text: text.replace("\n5\n", "\n6\n"),
        lambda text: text.replace("— ", "- "),
        lambda text: text[:-1],
        lambda text: text + "\n",
        lambda text: text.replace("node.example/log1 GT", "node.example/log2 GT"),
        lambda text: text.replace("\n\n— node", "\nextension\n\n— node"),
        lambda text: text.replace("GqaN", "GqbN"),
        lambda text: text.replace("R/If9", "R/If8"),
    ],
)
def test_fault_19_a_note_with_anything_else_in_it_is_refused(change: Callable[[str], str]) -> None:
    def read() -> None:
        proof = verifier._proof(change(_EXAMPLE), "example")
        proof.checkpoint.logged_by(verifier._vkey(_LOG))

    with pytest.raises(EvidenceError):
        read()


@pytest.mark.parametrize(
    "vkey",
    [
        _LOG.replace("1933", "1934"),
        _LOG.replace("node", "Node"),
        _LOG.replace("+Add", "+Bdd"),
        "a b+00000000+AAAA",
        "",
        "x+y",
    ],
)
def test_a_verifier_key_with_another_id_name_or_type_is_refused(vkey: str) -> None:
    with pytest.raises(EvidenceError):
        verifier._vkey(vkey)


def test_a_token_is_called_as_the_rest_of_the_program_calls_it() -> None:
    token = an_envelope(WORLD)

    mine = verifier._token(token, "hz-envelope+jws", "x").sha256
    assert mine == jws.parse(token, typ="hz-envelope+jws").sha256
