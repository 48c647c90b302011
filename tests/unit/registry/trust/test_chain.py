"""The delegation test matrix, at the level of chains: every row is refused, and says why."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UnavailableError, UntrustedError
from registry.identifier import Identifier, Prefix
from registry.trust import jws
from registry.trust.chain import MemoryMarks, chain_sha256, extend, verify_chain
from registry.trust.encoding import b64u
from registry.trust.marks import Act
from registry.trust.rights import Permission, Right
from registry.trust.root import make_root
from registry.trust.statement import STATEMENT_TYPE, StatementKey, full_rights
from tests.support.trust import DAY, NOW, a_chain, a_root, a_signer, a_statement, altered

TOP, PARK, PLANT = "88", "88.107", "88.107.1001"


def reason(act, *args, kind=UntrustedError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.rpartition(".")[2]


def refused(tokens, *, root=None, now=NOW, marks=None):
    """Say why the chain is refused, and that its last step alone is refused for the same reason."""
    anchor = (root or a_root()).anchor
    why = reason(verify_chain, tokens, anchor=anchor, now=now, marks=marks)
    try:
        parent = verify_chain(tokens[1:], anchor=anchor, now=now) if tokens[1:] else anchor
    except UntrustedError:
        return why
    assert reason(extend, parent, tokens[0], now=now, marks=marks) == why
    return why


def changed(prefix, *names, **change):
    """The tokens of a chain in which one statement is different, leaf first."""
    names = names or (TOP, PARK, PLANT)
    return a_chain(*names, changed={prefix: change}).tokens


def forged(prefix, signer=None, **claims):
    """The same, with claims that nobody could issue."""
    chain = a_chain()
    names = list(chain.prefixes)
    above = signer or a_signer(names[names.index(prefix) - 1] if prefix != TOP else "root")
    return [altered(t, above, **claims) if names[-1 - i] == prefix else t for i, t in enumerate(chain.tokens)]


# --- what holds


def test_a_chain_holds_and_says_what_it_vouches_for():
    chain = a_chain()
    made = chain.verified()
    assert made.subject == Prefix(PLANT)
    assert made.leaf is made.statements[0]
    assert made.tokens == chain.tokens
    assert made.sha256 == chain_sha256(chain.tokens)
    assert made.expires == NOW + 90 * DAY - 3
    assert made.covers(Identifier.parse(f"{PLANT}/BATCH-1"))
    assert not made.covers(Identifier.parse(f"{PLANT}/BATCH-1"), "unheard-of")
    assert not made.covers(Identifier.parse(f"{PLANT}0/BATCH-1"))
    assert made.allows("alarm")
    assert not made.allows("unheard-of")
    made.require_active()
    assert made.signing_key(chain.signer.kid, NOW).kid == chain.signer.kid


def test_a_chain_is_named_by_its_statements_leaf_first():
    assert chain_sha256(["b", "a"]) == b64u(hashlib.sha256(b"b\na").digest())


def test_a_key_for_another_use_has_signed_nothing_for_the_subject():
    log = a_signer("log")
    keys = (StatementKey.of(a_signer(PLANT), nbf=NOW - DAY), StatementKey.of(log, nbf=NOW - DAY, use="log"))
    made = verify_chain(changed(PLANT, keys=keys), anchor=a_root().anchor, now=NOW)
    assert made.signing_key(a_signer(PLANT).kid, NOW).kid == a_signer(PLANT).kid
    assert reason(made.signing_key, log.kid, NOW) == "kid_unknown"


def test_a_child_may_live_as_long_as_its_superior():
    end = NOW + 30 * DAY
    tokens = a_chain(changed={TOP: {"exp": end}, PARK: {"exp": end}, PLANT: {"exp": end}}).tokens
    assert verify_chain(tokens, anchor=a_root().anchor, now=NOW).expires == end


def test_what_is_remembered_of_a_statement_says_who_signed_it_and_which_keys_it_lists():
    told = []

    class Told:
        def raise_to(self, *what):
            told.append(what)

    log = a_signer("log")
    keys = (StatementKey.of(a_signer(PLANT), nbf=NOW - DAY), StatementKey.of(log, nbf=NOW - DAY, use="log"))
    chain = a_chain(changed={PLANT: {"keys": keys}})
    made = verify_chain(chain.tokens, anchor=chain.anchor, now=NOW, marks=Told())
    leaf = made.leaf
    act = Act(
        kid=a_signer(PARK).kid,
        iat=leaf.iat,
        keys=leaf.signing_kids,
        listed=frozenset({a_signer(PLANT).kid}),
    )
    assert [what[:2] for what in told] == [("0.NA", TOP), (TOP, PARK), (PARK, PLANT)]
    assert told[-1] == (PARK, PLANT, 1, leaf.sha256, act)
    told.clear()
    extend(chain.verified(PARK), chain.by_prefix[PLANT], now=NOW, marks=Told())
    assert told == [(PARK, PLANT, 1, leaf.sha256, act)]


def test_step_by_step_and_all_at_once_are_the_same():
    chain = a_chain()
    step = extend(chain.anchor, chain.by_prefix[TOP], now=NOW)
    step = extend(step, chain.by_prefix[PARK], now=NOW)
    step = extend(step, chain.by_prefix[PLANT], now=NOW)
    assert step == chain.verified()


@given(st.integers(1, 8))
def test_eight_tiers_hold_and_nine_do_not(depth):
    names = [".".join(["88", *("1" * n)]) for n in range(depth)]
    assert a_chain(*names).verified().subject == Prefix(names[-1])


def test_a_ninth_tier_is_refused():
    names = [".".join(["88", *("1" * n)]) for n in range(8)]
    chain = a_chain(*names)
    ninth = a_statement(names[-1] + ".1", names[-1], max_path=0)
    assert reason(verify_chain, [ninth, *chain.tokens], anchor=chain.anchor, now=NOW) == "chain_long"
    assert reason(extend, chain.verified(), ninth, now=NOW) == "chain_long"
    assert reason(verify_chain, ["x"] * 9, anchor=chain.anchor, now=NOW) == "chain_long"
    assert reason(verify_chain, [], anchor=chain.anchor, now=NOW) == "chain_empty"


def test_a_tier_may_skip_labels_and_a_sub_industry_node_may_stand_between():
    assert a_chain("88", "88.107.5", "88.107.5.2.1001").verified().subject == Prefix("88.107.5.2.1001")


def test_another_algorithm_in_the_middle_holds():
    park = a_signer(PARK, "ES256")
    keys = (StatementKey.of(park, nbf=NOW - DAY),)
    tokens = a_chain(changed={PARK: {"keys": keys}, PLANT: {"signer": park}}).tokens
    assert verify_chain(tokens, anchor=a_root().anchor, now=NOW).subject == Prefix(PLANT)


# --- forged


@pytest.mark.parametrize("prefix", [TOP, PARK, PLANT])
def test_a_statement_signed_by_a_stranger_is_refused(prefix):
    assert refused(forged(prefix, a_signer("stranger"))) == "kid_unknown"


@pytest.mark.parametrize("prefix", [TOP, PARK, PLANT])
def test_a_statement_changed_after_signing_is_refused(prefix):
    tokens = list(a_chain().tokens)
    at = [PLANT, PARK, TOP].index(prefix)
    head, _, signature = tokens[at].split(".")
    payload = altered(tokens[at], a_signer("x"), ver=2).split(".")[1]
    tokens[at] = f"{head}.{payload}.{signature}"
    assert refused(tokens) == "signature"


def test_a_prefix_cannot_speak_for_itself():
    assert refused(forged(PLANT, a_signer(PLANT))) == "kid_unknown"


def test_a_grandparent_cannot_sign_in_the_parents_place():
    assert refused(forged(PLANT, a_signer(TOP))) == "kid_unknown"
    assert refused(forged(PLANT, a_signer("root"))) == "kid_unknown"


def test_a_key_for_another_use_signs_no_statement():
    tls = a_signer("tls")
    keys = (StatementKey.of(a_signer(PARK), nbf=NOW - DAY), StatementKey.of(tls, nbf=NOW - DAY, use="tls"))
    tokens = a_chain(changed={PARK: {"keys": keys}, PLANT: {"signer": tls}}).tokens
    assert refused(tokens) == "kid_unknown"


def test_a_key_serves_one_use_in_the_whole_chain():
    def listing(key, use):
        own = StatementKey.of(a_signer(PLANT), nbf=NOW - DAY)
        return changed(PLANT, keys=(own, StatementKey.of(key, nbf=NOW - DAY, use=use)))

    assert refused(listing(a_signer(PARK), "tls")) == "key_two_uses"
    assert refused(listing(a_signer(TOP), "log")) == "key_two_uses"
    assert refused(listing(a_signer("root"), "sig")) == "key_two_uses"


def test_another_root_vouches_for_nothing_here():
    tokens = a_chain().tokens
    assert refused(tokens, root=a_root("other root")) == "kid_unknown"


@pytest.mark.parametrize("typ", ["hz-record+jws", "hz-root+jws", "JWT", "hz-pop+jws"])
def test_a_token_of_another_type_is_refused(typ):
    chain = a_chain()
    claims = jws.parse(chain.by_prefix[PLANT], typ=STATEMENT_TYPE).payload
    assert refused([jws.sign(a_signer(PARK), typ, claims), *chain.tokens[1:]]) == "jws_typ"


def test_an_unknown_critical_claim_refuses_the_chain():
    assert refused(forged(PARK, crit=["perms", "ver", "algs", "geofence"], geofence=1)) == "crit_unknown"


# --- the way it hangs together


def test_issuer_and_subject_swapped_are_refused():
    swapped = forged(PLANT, iss=f"300:0.NA/{PLANT}", sub=f"0.NA/{PARK}")
    assert refused(swapped) == "not_below"


def test_a_chain_with_a_missing_or_foreign_link_is_refused():
    plant, park, top = a_chain().tokens
    assert refused([plant, top]) == "chain_broken"
    assert refused([plant, park]) == "chain_broken"
    assert refused([top, park, plant]) == "chain_broken"
    other = a_chain(TOP, "88.108", "88.108.1")
    assert refused([plant, *other.tokens[1:]]) == "chain_broken"
    assert reason(extend, a_chain(TOP).verified(), plant, now=NOW) == "chain_broken"
    assert reason(extend, a_root().anchor, park, now=NOW) == "chain_broken"


def test_a_loop_is_refused():
    plant, park, top = a_chain().tokens
    assert refused([plant, park, plant, park, top]) == "chain_loop"
    assert refused([park, park, top]) == "chain_loop"
    assert refused([plant, park, top, top]) == "chain_loop"


@pytest.mark.parametrize(
    ("issuer", "subject"),
    [
        ("88.1", "88.10"),
        ("88.1", "88.10.1"),
        ("88.12", "88.123"),
        ("88.107", "88.1070"),
        ("88.107", "88.108.1"),
    ],
)
def test_a_prefix_that_merely_starts_with_the_same_digits_is_refused(issuer, subject):
    chain = a_chain("88", issuer)
    honest = a_statement(issuer + ".5", issuer)
    name = f"0.NA/{subject}"
    perms = [{"handle": name, "perm": "thisHandle", "ops": ["register"]}]
    token = altered(honest, a_signer(issuer), sub=name, perms=perms)
    assert refused([token, *chain.tokens]) == "not_below"


@pytest.mark.parametrize(
    "subject", ["88.107.１001", "88.107.\u0410", "88.107.A\u0301", "88.107.1001\u200b", "88.107.1001%00"]
)
def test_a_look_alike_of_a_prefix_is_refused(subject):
    assert refused(forged(PLANT, sub=f"0.NA/{subject}")) == "prefix_character"


def test_case_makes_no_second_prefix():
    chain = a_chain("88", "88.a", "88.A.b")
    marks = MemoryMarks()
    assert chain.verified(marks=marks).subject == Prefix("88.A.B")
    other = altered(chain.tokens[0], a_signer("88.a"), sub="0.NA/88.a.B")
    assert refused([other, *chain.tokens[1:]], marks=marks) == "equivocation"


# --- rights only shrink


def test_wider_permissions_are_refused():
    narrow = (
        Right(Prefix(PARK), Permission.THIS_HANDLE),
        Right(Prefix(PARK), Permission.DERIVED_PREFIXES, frozenset({"register"})),
    )
    plant = (Right(Prefix(PLANT), Permission.THIS_HANDLE, frozenset({"register"})),)
    fits = a_chain(changed={PARK: {"perms": narrow}, PLANT: {"perms": plant}})
    assert not fits.verified().allows("alarm")
    assert refused(changed(PARK, perms=narrow)) == "wider_perms"


def test_operations_cannot_be_added():
    ops = ["register", "flow", "alarm", "catalogue", "report", "query", "command"]
    perms = [{"handle": f"0.NA/{PLANT}", "perm": "thisHandle", "ops": ops}]
    assert refused(forged(PLANT, perms=perms)) == "wider_perms"


def test_who_holds_only_its_own_handles_may_not_delegate():
    own = (Right(Prefix(PARK), Permission.THIS_HANDLE), Right(Prefix(PARK), Permission.HANDLES_UNDER))
    assert refused(changed(PARK, perms=own)) == "may_not_delegate"
    suspended = a_chain(changed={PARK: {"perms": own}, PLANT: {"state": "suspended"}})
    assert refused(suspended.tokens) == "may_not_delegate"


def test_everything_is_the_roots_alone():
    perms = [{"handle": f"0.NA/{PLANT}", "perm": "everything", "ops": ["register"]}]
    assert refused(forged(PLANT, perms=perms)) == "perm_unknown"


def test_a_right_outside_its_own_prefix_is_refused():
    perms = [{"handle": "0.NA/88.107.1002", "perm": "thisHandle", "ops": ["register"]}]
    assert refused(forged(PLANT, perms=perms)) == "perm_outside"


def test_wider_algorithms_are_refused():
    assert refused(changed(PARK, algs=("Ed25519",))) == "wider_algs"
    assert refused(changed(TOP, algs=("Ed25519", "ES256", "SM2-SM3"))) == "wider_algs"
    only = a_root(algs=("Ed25519",))
    assert refused(a_chain().tokens, root=only) == "wider_algs"


@pytest.mark.parametrize("prefix", [TOP, PARK, PLANT])
def test_a_longer_life_than_the_superiors_is_refused(prefix):
    assert refused(changed(prefix, exp=NOW + 4000 * DAY)) == "wider_exp"


def test_more_tiers_than_the_superior_may_give_are_refused():
    assert refused(changed(PARK, max_path=0)) == "wider_path"
    assert refused(a_chain(changed={PARK: {"max_path": 2}, PLANT: {"max_path": 2}}).tokens) == "wider_path"
    leaf = a_chain(changed={PARK: {"max_path": 1}, PLANT: {"max_path": 0}})
    below = a_statement(PLANT + ".1", PLANT, max_path=0)
    assert refused([below, *leaf.tokens]) == "wider_path"


# --- keys of their time


def test_a_key_rotated_out_vouches_for_its_time_alone():
    old, new = a_signer("old"), a_signer("new")
    keys = (
        StatementKey.of(new, nbf=NOW - 1000),
        StatementKey.of(old, nbf=NOW - 9000, exp=NOW - 500),
    )
    made = a_chain(changed={PLANT: {"keys": keys}}).verified()
    assert made.signing_key(old.kid, NOW - 9000).kid == old.kid
    assert made.signing_key(old.kid, NOW - 9300).kid == old.kid
    assert made.signing_key(old.kid, NOW - 500).kid == old.kid
    assert made.signing_key(new.kid, NOW - 700).kid == new.kid
    assert reason(made.signing_key, old.kid, NOW - 499) == "key_not_in_use"
    assert reason(made.signing_key, old.kid, NOW - 9301) == "key_not_in_use"
    assert reason(made.signing_key, new.kid, NOW - 1301) == "key_not_in_use"
    assert reason(made.signing_key, a_signer("dropped").kid, NOW) == "kid_unknown"


def test_a_statement_signed_in_the_life_of_a_key_outlives_it_and_one_signed_after_does_not():
    keys = (
        StatementKey.of(a_signer("new"), nbf=NOW - 1000),
        StatementKey.of(a_signer(PARK), nbf=NOW - 90_000, exp=NOW - 500),
    )
    good = a_chain(changed={PARK: {"keys": keys}, PLANT: {"iat": NOW - 600}})
    assert good.verified().subject == Prefix(PLANT)
    assert (
        refused(a_chain(changed={PARK: {"keys": keys}, PLANT: {"iat": NOW - 400}}).tokens) == "key_not_in_use"
    )


# --- time


@pytest.mark.parametrize(("prefix", "before"), [(TOP, 1), (PARK, 2), (PLANT, 3)])
def test_an_expired_statement_is_refused(prefix, before):
    chain = a_chain()
    upto = chain.tokens_of(prefix)
    end = NOW + 90 * DAY - before
    assert verify_chain(upto, anchor=chain.anchor, now=end).expires == end
    assert refused(upto, now=end + 1) == "expired"


def test_clocks_may_differ_by_five_minutes():
    chain = a_chain(changed={PLANT: {"iat": NOW, "nbf": NOW}})
    assert verify_chain(chain.tokens, anchor=chain.anchor, now=NOW - 300).subject == Prefix(PLANT)
    assert refused(chain.tokens, now=NOW - 301) == "not_yet"
    assert refused(changed(PLANT, nbf=NOW + 301)) == "not_yet"
    assert refused(forged(PLANT, iat=NOW + 301)) == "not_yet"


def test_an_expired_root_vouches_for_nothing():
    root = a_root(exp=NOW + 91 * DAY)
    chain = a_chain()
    assert reason(verify_chain, chain.tokens, anchor=root.anchor, now=NOW + 92 * DAY) == "root_expired"


def test_a_chain_that_was_kept_is_asked_again():
    made = a_chain().verified()
    made.require_fresh(made.expires)
    assert reason(made.require_fresh, made.expires + 1) == "expired"
    assert reason(extend, made, a_statement(PLANT + ".1", PLANT), now=made.expires + 1) == "expired"


# --- states


@pytest.mark.parametrize("state", ["suspended", "revoked"])
def test_a_suspended_or_revoked_prefix_can_read_its_chain_and_do_nothing_with_it(state):
    made = a_chain(changed={PLANT: {"state": state}}).verified()
    assert made.leaf.state == state
    assert not made.covers(Identifier.parse(f"{PLANT}/X"))
    assert not made.allows("register")
    assert reason(made.require_active) == f"state_{state}"


@pytest.mark.parametrize("state", ["suspended", "revoked"])
@pytest.mark.parametrize("prefix", [TOP, PARK])
def test_under_a_suspended_or_revoked_superior_nothing_holds(prefix, state):
    assert refused(changed(prefix, state=state)) == f"state_{state}"


# --- versions


def test_an_older_version_cannot_come_back():
    marks = MemoryMarks()
    suspended = changed(PLANT, state="suspended", ver=2)
    verify_chain(suspended, anchor=a_root().anchor, now=NOW, marks=marks)
    assert refused(a_chain().tokens, marks=marks) == "rolled_back"
    verify_chain(changed(PLANT, ver=3), anchor=a_root().anchor, now=NOW, marks=marks)
    assert refused(suspended, marks=marks) == "rolled_back"


def test_one_version_has_one_content():
    marks = MemoryMarks()
    a_chain().verified(marks=marks)
    a_chain().verified(marks=marks)
    assert refused(changed(PLANT, max_path=0), marks=marks) == "equivocation"


def test_a_prefix_has_one_superior():
    marks = MemoryMarks()
    a_chain().verified(marks=marks)
    skipping = a_chain(TOP, PLANT, changed={PLANT: {"ver": 99}})
    assert refused(skipping.tokens, marks=marks) == "two_superiors"


def test_an_expired_statement_still_raises_the_mark():
    marks = MemoryMarks()
    revoked = changed(PLANT, state="revoked", ver=5, exp=NOW - 10)
    assert refused(revoked, marks=marks) == "expired"
    assert refused(a_chain().tokens, marks=marks) == "rolled_back"


def test_an_expired_superior_does_not_hide_what_it_said():
    marks = MemoryMarks()
    late = a_chain(changed={PLANT: {"state": "revoked", "ver": 5}})
    assert refused(late.tokens, marks=marks, now=NOW + 200 * DAY) == "expired"
    assert refused(a_chain().tokens, marks=marks) == "rolled_back"


@pytest.mark.parametrize(
    "tokens",
    [
        forged(PLANT, a_signer("stranger"), ver=99),
        changed(PLANT, ver=99, exp=NOW + 4000 * DAY),
        changed(PLANT, ver=99, max_path=6),
    ],
    ids=["forged", "longer", "wider"],
)
def test_what_is_not_rightful_raises_no_mark(tokens):
    marks = MemoryMarks()
    refused(tokens, marks=marks)
    assert a_chain().verified(marks=marks).leaf.ver == 1


def test_a_mark_that_cannot_be_stored_stops_the_use():
    class Full:
        def raise_to(self, issuer, subject, ver, sha256, act=None):
            raise UnavailableError("registry.storage.unavailable", reason="disk full")

    assert reason(a_chain().verified, marks=Full(), kind=UnavailableError) == "unavailable"
    chain = a_chain()
    arguments = {"now": NOW, "marks": Full(), "kind": UnavailableError}
    assert reason(extend, chain.anchor, chain.by_prefix[TOP], **arguments) == "unavailable"


# --- the root beneath


def test_after_a_rotation_of_the_root_the_new_keys_count():
    old, new = a_root(), a_signer("new root")
    text = make_root(
        [*old.signers, new], 1, keys=[new], ver=2, algs=old.document.algs, iat=NOW, exp=old.document.exp
    )
    anchor = old.anchor.advance(text)
    assert reason(verify_chain, a_chain().tokens, anchor=anchor, now=NOW) == "kid_unknown"
    again = a_chain(changed={TOP: {"signer": new, "ver": 2}})
    assert verify_chain(again.tokens, anchor=anchor, now=NOW).subject == Prefix(PLANT)


# --- properties


@given(st.data())
def test_no_flipped_character_survives(data):
    chain = a_chain()
    tokens = list(chain.tokens)
    number = data.draw(st.integers(0, 2))
    token = tokens[number]
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("AZaz09-_.").filter(lambda c: c != token[at]))
    tokens[number] = token[:at] + other + token[at + 1 :]
    with pytest.raises(UntrustedError):
        verify_chain(tokens, anchor=chain.anchor, now=NOW)


@given(st.permutations(range(5)), st.integers(0, 5))
def test_only_the_right_statements_in_the_right_order_make_a_chain(order, count):
    chain = a_chain()
    pool = [*chain.tokens, a_statement("88.108", "88"), a_statement("88.107.2", "88.107")]
    picked = [pool[number] for number in order][:count]
    right = [list(chain.tokens[n:]) for n in range(3)] + [[pool[3], pool[2]], [pool[4], *pool[1:3]]]
    if picked in right:
        verify_chain(picked, anchor=chain.anchor, now=NOW)
    else:
        with pytest.raises(UntrustedError):
            verify_chain(picked, anchor=chain.anchor, now=NOW)


@given(
    st.integers(0, 7),
    st.integers(NOW, NOW + 200 * DAY),
    st.sets(st.sampled_from(["Ed25519", "ES256"]), min_size=1),
    st.sets(st.sampled_from(["register", "flow", "alarm", "command"]), min_size=1),
)
def test_a_child_never_holds_more_than_its_superior(max_path, exp, algs, ops):
    parent = a_chain(TOP, PARK).verified()
    keys = (StatementKey.of(a_signer(PLANT, min(algs)), nbf=NOW - 10),)
    perms = full_rights(Prefix(PLANT), ops)
    token = a_statement(PLANT, PARK, keys=keys, algs=sorted(algs), perms=perms, max_path=max_path, exp=exp)
    fits = max_path < parent.leaf.max_path and exp <= parent.leaf.exp and "command" not in ops
    try:
        made = extend(parent, token, now=NOW)
    except UntrustedError:
        assert not fits
    else:
        assert fits
        assert made.expires <= parent.expires
