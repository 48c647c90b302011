"""Two implementations, one meaning: the verifier against the programs that make what it reads."""

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from federation.evidence import verifier
from federation.evidence.bundle import (
    Entry,
    Evidence,
    Reception,
    SignedList,
    Witness,
    join,
    only_known,
    plain_roots,
)
from federation.evidence.verifier import EvidenceError, canonical, verify
from federation.exchange import envelope as wire
from federation.exchange import receipt as receipts
from federation.exchange.body import first_outside, identifiers
from federation.log.checkpoint import Checkpoint, sign_checkpoint
from federation.log.leaf import Leaf
from federation.log.merkle import leaf_hash, root, verify_inclusion
from federation.log.note import Note, cosign, key_of, parse_vkey
from federation.log.proof import TlogProof
from registry.errors import HazlinkError, MalformedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.chain import verify_chain
from registry.trust.encoding import b64u
from registry.trust.historical import HistoricalKey, issue_history
from registry.trust.revocation import LastGood, Reason, Revoked, Signed, issue_revocation, stands
from registry.trust.rights import OPERATIONS, Permission, Right, covering, granted
from registry.trust.root import pin
from tests.support.evidence import (
    ANOTHER,
    ENTERPRISE,
    PARK,
    TOP,
    a_world,
    an_envelope,
    evidence,
    path,
    tree_root,
)
from tests.support.trust import DAY, a_signer, altered

WORLD = a_world()
ROOTS = verifier._roots(WORLD.roots, WORLD.anchor)


def _mine(tokens: Any, at: int) -> bool:
    try:
        chain = verifier._chain(list(tokens), ROOTS, at, "chain")
    except EvidenceError:
        return False
    return not chain.late


def _theirs(tokens: Any, at: int) -> bool:
    try:
        verify_chain(tokens, anchor=pin(WORLD.roots[:1], WORLD.anchor, now=WORLD.at), now=at)
    except HazlinkError:
        return False
    return True


# --- chains --------------------------------------------------------------------------------------------------------

_CLAIMS: dict[str, Any] = {
    "iss": st.sampled_from(
        ["300:0.NA/88.107", "300:0.na/88.107", "301:0.NA/88.107", "300:0.NA/0.NA", "0.NA/88.107"]
    ),
    "sub": st.sampled_from(
        ["0.NA/88.107.1001", "0.NA/88.107.1002", "0.NA/88.107", "0.NA/88.1071.1", "88.107.1001"]
    ),
    "iat": st.integers(WORLD.at - 2 * DAY, WORLD.at + DAY),
    "nbf": st.integers(WORLD.at - 2 * DAY, WORLD.at + DAY),
    "exp": st.integers(WORLD.at - DAY, WORLD.at + 100 * DAY),
    "ver": st.sampled_from([0, 1, 2, -1, "1", True, 1.0]),
    "max_path": st.sampled_from([0, 1, 4, 5, 6, 7, 8, None]),
    "algs": st.sampled_from(
        [["Ed25519"], ["Ed25519", "ES256"], ["Ed25519", "SM2-SM3"], [], ["none"], "Ed25519"]
    ),
    "crit": st.sampled_from([["perms", "ver", "algs"], ["perms", "ver"], ["perms", "ver", "algs", "x"], []]),
    "state": st.sampled_from(["active", "suspended", "revoked", "other"]),
    "perms": st.lists(
        st.fixed_dictionaries(
            {
                "handle": st.sampled_from(
                    [
                        "0.NA/88.107.1001",
                        "0.NA/88.107.1001.5",
                        "0.NA/88.107.10012",
                        "0.NA/88.107",
                        "0.NA/0.NA",
                    ]
                ),
                "perm": st.sampled_from(
                    ["thisHandle", "derivedPrefixes", "handlesUnderThisPrefix", "everything"]
                ),
                "ops": st.lists(st.sampled_from([*OPERATIONS, "other"]), unique=True, max_size=3),
            }
        ),
        max_size=2,
    ),
    "publicKey": st.sampled_from(
        [
            a_signer(f"{ENTERPRISE}-1").jwk,
            a_signer("one").jwk,
            {**a_signer(f"{ENTERPRISE}-1").jwk, "d": "x"},
            {},
            1,
        ]
    ),
    "jwks": st.builds(
        lambda rows: {"keys": rows},
        st.lists(
            st.builds(
                lambda name, use, **times: {
                    **a_signer(name).jwk,
                    "kid": a_signer(name).kid,
                    "alg": "Ed25519",
                    "use": use,
                    **times,
                },
                st.sampled_from(["one", "two", f"{TOP}-1", "root-1-a"]),
                st.sampled_from(["sig", "log", "tls", "enc"]),
                nbf=st.sampled_from([0, WORLD.at]),
            ),
            max_size=2,
        ),
    ),
}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_a_statement_with_anything_changed_is_judged_alike(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(_CLAIMS)), min_size=1, max_size=3, unique=True))
    claims = {name: data.draw(_CLAIMS[name]) for name in names}
    if claims.get("state", "active") != "active" and data.draw(st.booleans()):
        claims |= {"perms": [], "crit": ["perms", "ver", "algs", "state"]}
    signer = WORLD.signers[data.draw(st.sampled_from([PARK, PARK, PARK, TOP]))]
    token = altered(
        WORLD.statements[ENTERPRISE],
        signer,
        without=() if "publicKey" in claims else ("publicKey",),
        **claims,
    )
    at = data.draw(st.integers(WORLD.at - DAY, WORLD.at + 100 * DAY))
    tokens = (token, *WORLD.chain(PARK))

    # what the verifier judges later than asked is not what the other one is asked
    try:
        late = verifier._chain(list(tokens), ROOTS, at, "chain").late
    except EvidenceError:
        late = False
    assume(not late)
    assert _mine(tokens, at) == _theirs(tokens, at)


@settings(max_examples=60, deadline=None)
@given(st.permutations([ENTERPRISE, PARK, TOP]), st.integers(1, 3))
def test_a_chain_in_any_other_order_is_judged_alike(order: list[str], length: int) -> None:
    tokens = tuple(WORLD.statements[name] for name in order[:length])

    assert _mine(tokens, WORLD.at) == _theirs(tokens, WORLD.at)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_a_public_key_is_admitted_alike(raw: bytes) -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(raw), "alg": "Ed25519"}
    try:
        theirs: str | None = admit(jwk, ("Ed25519",)).kid
    except HazlinkError:
        theirs = None
    try:
        mine: str | None = verifier._key(jwk, ("Ed25519",), ()).kid
    except EvidenceError:
        mine = None

    assert mine == theirs


_PREFIXES = st.sampled_from(["88", "88.1", "88.10", "88.1.2", "88.1.20", "88.A", "7"])
_RIGHTS = st.builds(
    lambda prefix, permission, operations: (prefix, permission, frozenset(operations)),
    _PREFIXES,
    st.sampled_from(list(Permission)),
    st.sets(st.sampled_from(OPERATIONS), max_size=3),
)


def _both(row: tuple[str, Permission, frozenset[str]]) -> tuple[Right, verifier._Right]:
    prefix, permission, operations = row
    return Right(Prefix(prefix), permission, operations), verifier._Right(
        prefix, permission.value, operations
    )


@settings(max_examples=400, deadline=None)
@given(_RIGHTS, st.lists(_RIGHTS, max_size=3))
def test_a_right_lies_inside_others_alike(row: Any, held: list[Any]) -> None:
    theirs, mine = _both(row)
    pairs = [_both(one) for one in held]

    assert verifier._granted(mine, [pair[1] for pair in pairs]) == granted(
        theirs, [pair[0] for pair in pairs]
    )


_NAMES = st.one_of(
    _PREFIXES,
    st.builds(lambda prefix: f"0.NA/{prefix}", _PREFIXES),
    st.builds(lambda prefix, tail: f"{prefix}/{tail}", _PREFIXES, st.text(max_size=6)),
    st.text(max_size=8),
    st.sampled_from(
        ["0.NA/0.NA", "0.na/88.1", "88.1/", "88..1/x", "88.1/" + "x" * 252, "8" * 65 + "/x", "88.a/1"]
    ),
)


@settings(max_examples=600, deadline=None)
@given(_NAMES, st.lists(_RIGHTS, min_size=1, max_size=2))
def test_an_identifier_lies_within_rights_alike(name: str, held: list[Any]) -> None:
    pairs = [_both(one) for one in held]
    body = {"identifier": name}

    for operation in OPERATIONS:
        mine = any(right.covers(name) for _, right in pairs if operation in right.operations)
        theirs = first_outside(body, [right for right, _ in pairs], operation) is None
        assert mine == theirs


_BODIES = st.recursive(
    st.text(max_size=4) | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["identifier", "identifiers", "handle", "other", "prefix"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(_BODIES)
def test_the_identifiers_of_a_body_are_found_alike(body: Any) -> None:
    assert sorted(verifier._identifiers(body)) == sorted(identifiers(body))
    assert covering is not None


# --- revocations -----------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(Reason)),
    st.one_of(
        st.just({}), st.just({"register": (1, 6)}), st.just({"register": (1, 7)}), st.just({"alarm": (9, 9)})
    ),
    st.sampled_from([-1000, 0, 2, 10, DAY]),
    st.sampled_from([1, 5, 20, 2 * DAY]),
)
def test_what_stands_of_a_revoked_sender_is_judged_alike(
    reason: Reason, last: dict[str, tuple[int, int]], revoked: int, witnessed: int
) -> None:
    entry = Revoked(
        WORLD.signers[ENTERPRISE].kid,
        WORLD.at + revoked,
        reason,
        {name: LastGood(*place) for name, place in last.items()},
    )
    token = issue_revocation(
        WORLD.signers[PARK],
        issuer=Prefix(PARK),
        ver=1,
        iat=WORLD.at + 3,
        exp=WORLD.at + 30 * DAY,
        revoked=[entry],
    )
    row = {"token": token, "chain": WORLD.chain(PARK)}
    content = evidence(WORLD, revocations=[row], witnessed_at=WORLD.at + witnessed)

    # evidence asks for the witness where a node that receives right now need not
    at = None if reason is Reason.COMPROMISE else WORLD.at
    signed = Signed(at=at, witnessed=WORLD.at + witnessed, stream="register", epoch=1, seq=7)
    assert verify(canonical(content), WORLD.anchor).holds == stands(entry, signed)


def test_a_list_of_historical_keys_is_read_alike() -> None:
    old = a_signer("before")
    key = HistoricalKey(kid=old.kid, alg=old.alg, jwk=old.jwk, use="sig", iat=WORLD.at - DAY)
    token = issue_history(
        WORLD.signers[PARK],
        issuer=Prefix(PARK),
        subject=Prefix(ENTERPRISE),
        ver=1,
        iat=WORLD.at + 60,
        keys=[key],
    )
    row = {"token": token, "chain": WORLD.chain(PARK)}
    content = evidence(WORLD, envelope=an_envelope(WORLD, signer=old), historical=[row])

    assert verify(canonical(content), WORLD.anchor).holds


# --- the log ---------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 70), st.data())
def test_inclusion_is_judged_alike_by_all_three(size: int, data: st.DataObject) -> None:
    leaves = [b"leaf %d" % number for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    hashes = path(index, leaves)
    top = tree_root(leaves)
    leaf = leaf_hash(leaves[index])

    assert root([leaf_hash(one) for one in leaves]) == top
    other = data.draw(st.integers(-1, size + 3))
    changed = list(hashes)
    if hashes and data.draw(st.booleans()):
        changed[data.draw(st.integers(0, len(hashes) - 1))] = bytes(32)
    if data.draw(st.booleans()):
        changed.append(bytes(32))
    for place, steps in ((index, hashes), (other, hashes), (index, changed)):
        mine = verifier.check_inclusion(leaf, place, size, steps, top)
        assert mine == verify_inclusion(leaf, place, size, steps, top)
    assert verifier.check_inclusion(leaf, index, size, hashes, top)


_NOTES = st.sampled_from(["88.107/log1", "88/log1"])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**40))
def test_checkpoints_and_cosignatures_are_read_alike(size: int, at: int) -> None:
    log, witness = a_signer("log"), a_signer("witness")
    checkpoint = Checkpoint("88.107/log1", size, bytes(range(32)))
    note = sign_checkpoint(checkpoint, log)
    note = note.plus([cosign(note.text, "88/log1", witness, at)])

    read = verifier._note(note.encode().decode())

    read.logged_by(verifier._vkey(key_of("88.107/log1", log).vkey))
    assert read.witnessed_by(verifier._vkey(key_of("88/log1", witness, kind=4).vkey)) == at
    assert (read.origin, read.size, read.root) == ("88.107/log1", size, bytes(range(32)))
    key = WORLD.logs[PARK]
    assert parse_vkey(key.vkey).as_witness().vkey == key.as_witness().vkey


# --- a file made of real parts ---------------------------------------------------------------------------------------


def _real(*, extra_signature: bool = False) -> Evidence:
    """The same exchange, with every part made by the program itself."""
    sender, receiver = Prefix(ENTERPRISE), Prefix(PARK)
    sealed = wire.seal(
        WORLD.signers[ENTERPRISE],
        wire.Draft(
            sender, receiver, "register", "dataset.entries", "incidents/1", {"identifier": f"{ENTERPRISE}/1"}
        ),
        wire.Position(1, 1, b64u(bytes(32))),
        chain=WORLD.chain(ENTERPRISE),
        jti=wire.uuid7(WORLD.at * 1000, bytes),
        iat=WORLD.at - 2,
    )
    place = {"env": sealed.env, "iss": f"0.NA/{ENTERPRISE}", "aud": f"0.NA/{PARK}", "stream": "register"}
    leaf = Leaf(kind="in", **place, epoch=1, seq=1, at=WORLD.at, outcome="accepted", code="ok").encode()
    leaves = [b"before", leaf, b"after"]
    text = receipts.issue(
        WORLD.signers[PARK],
        iss=receiver,
        aud=sender,
        env=sealed.env,
        stream="register",
        epoch=1,
        seq=1,
        code="ok",
        received_at=WORLD.at,
        credit=100,
        leaf_index=1,
        leaf=b64u(leaf_hash(leaf)),
    )
    log, witness = WORLD.logs[PARK], WORLD.logs[TOP]
    note = sign_checkpoint(Checkpoint(log.name, 3, root([leaf_hash(one) for one in leaves])), log.signer)
    note = note.plus([cosign(note.text, witness.name, witness.signer, WORLD.at + 4)])
    if extra_signature:
        note = note.plus([cosign(note.text, "9.9/log1", a_signer("somebody"), WORLD.at + 4)])
    proof = TlogProof(1, tuple(path(1, leaves)), note.encode(), b"extra" if extra_signature else None)
    known = Witness(parse_vkey(witness.vkey).as_witness(), tuple(WORLD.chain(TOP)))
    plain, signed = only_known(proof, parse_vkey(log.vkey), [known])
    return Evidence(
        roots=WORLD.roots,
        envelope=sealed.token,
        reception=Reception(
            sender_chain=tuple(WORLD.chain(ENTERPRISE)),
            receiver_chain=tuple(WORLD.chain(PARK)),
            receipt=text,
            entry=Entry(leaf, plain),
        ),
        witnesses=signed,
    )


@pytest.mark.parametrize("extra", [False, True])
def test_a_file_made_of_real_parts_holds_and_names_only_who_vouches(extra: bool) -> None:
    made = _real(extra_signature=extra)

    found = verify(made.encode(), WORLD.anchor)

    assert found.holds, found.text("en")
    assert made.anchor == WORLD.anchor
    assert [one["name"] for one in found.facts["log"]["witnesses"]] == [WORLD.logs[TOP].name]
    assert b"9.9/log1" not in made.encode()


def test_roots_are_written_in_one_spelling_without_the_signatures_of_strangers() -> None:
    signers = [a_signer("root-1-a"), a_signer("root-1-b"), a_signer("stranger")]
    general = json.loads(jws.sign_general(signers, "hz-root+jws", _payload(WORLD.roots[0])))
    untidy = json.dumps({"signatures": general["signatures"], "payload": general["payload"]}, indent=1)

    plain = plain_roots([untidy, *WORLD.roots[1:]])

    assert verifier._roots(plain, WORLD.anchor)[-1].ver == 3
    with pytest.raises(EvidenceError):
        verifier._roots([untidy], WORLD.anchor)
    assert len(json.loads(plain[0])["signatures"]) == 2


def _payload(text: str) -> bytes:
    segment = json.loads(text)["payload"]
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def test_the_evidence_of_a_relay_and_of_what_it_carried_become_one_file() -> None:
    inside = _real()
    body = {"token": inside.envelope, "chain": WORLD.chain(ENTERPRISE)}
    relay = an_envelope(WORLD, PARK, TOP, type="relay", schema="relay.register/1", body=body)
    outer = canonical(evidence(WORLD, envelope=relay, sender=PARK, receiver=TOP, witness=ANOTHER))

    joined = join(outer, inside.encode())

    found = verify(joined, WORLD.anchor)
    assert found.holds, found.text("en")
    assert found.facts["inner"]["receiver"] == PARK
    assert len(json.loads(joined)["witnesses"]) == 2


def test_files_that_do_not_belong_together_are_not_joined() -> None:
    for inner in (b"{}\n", canonical({**evidence(WORLD), "anchor": "x"})):
        with pytest.raises(MalformedError):
            join(canonical(evidence(WORLD)), inner)


def test_lists_and_bodies_find_their_place() -> None:
    made = _real()
    with_list = Evidence(
        roots=made.roots,
        envelope=made.envelope,
        reception=made.reception,
        witnesses=made.witnesses,
        revocations=(
            SignedList(
                issue_revocation(
                    WORLD.signers[TOP],
                    issuer=Prefix(TOP),
                    ver=4,
                    iat=WORLD.at,
                    exp=WORLD.at + DAY,
                    revoked=[Revoked(a_signer("gone").kid, WORLD.at, Reason.COMPROMISE)],
                ),
                tuple(WORLD.chain(TOP)),
            ),
        ),
    )

    found = verify(with_list.encode(), WORLD.anchor)

    assert found.holds
    assert [code for code, _ in found.notices] == ["list"]
    assert orjson.loads(with_list.encode())["revocations"][0]["chain"] == WORLD.chain(TOP)


def test_a_note_of_the_log_keeps_its_bytes() -> None:
    note = Note("88.107/log1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
    signed = note.plus([cosign(note.text, "88/log1", a_signer("w"), 5)])

    assert verifier._note(signed.encode().decode()).text == note.text.encode()
