import base64
import hashlib
from dataclasses import replace

import joserfc.jws
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from registry.errors import InternalError, UntrustedError
from registry.identifier import Identifier, Prefix
from registry.record import Status, Tombstone
from registry.trust import jws
from registry.trust.record_signature import (
    RECORD_TYPE,
    RESTRICTED_TYPE,
    public_jws,
    restricted_jws,
    sign_record,
    verify_record,
)
from registry.trust.statement import StatementKey
from registry.value import FEDERATION, PRIVATE, PUBLIC, Scope, Value, Visibility, digest, encode_value
from tests.support.trust import NOW, a_chain, a_record, a_signer, a_value

CHAIN = a_chain()
VERIFIED = CHAIN.verified()
SALT = bytes(range(16))
HIDDEN = a_value(2001, "OWNER", "Zhang San", visibility=FEDERATION, salt=SALT)
SECRET = a_value(2002, "NOTE", "x", visibility=PRIVATE, salt=SALT[::-1])
OPEN = (a_value(1, "URL", "https://e.example/b1"), a_value())
TOMBSTONE = a_value(500, "HZ_TOMBSTONE", Tombstone("withdrawn", "300:0.NA/88", "recalled", NOW).to_data())


def signed(*values, chain=CHAIN, signer=None, issuer=None, **other):
    record = a_record("88.107.1001/BATCH-1", *values, **other)
    return sign_record(record, signer or chain.signer, issuer or chain.prefix)


def check(record, shown=None, *, chain=VERIFIED, asked=None, now=NOW, restricted=True):
    return verify_record(
        public_jws=public_jws(record),
        restricted_jws=restricted_jws(record) if restricted else None,
        shown=record.values if shown is None else shown,
        chain=chain,
        identifier=Identifier.parse(asked) if asked else record.identifier,
        now=now,
    )


def reason(act, *args, kind=UntrustedError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.rpartition(".")[2]


def forged(signer=CHAIN.signer, typ=RECORD_TYPE, without=(), **claims):
    record = signed(*OPEN)
    content = jws.parse(public_jws(record), typ=RECORD_TYPE).claims() | claims
    content = {name: value for name, value in content.items() if name not in without}
    token = jws.sign(signer, typ, orjson.dumps(content))

    def act(shown=OPEN):
        return verify_record(
            public_jws=token,
            restricted_jws=None,
            shown=shown,
            chain=VERIFIED,
            identifier=record.identifier,
            now=NOW,
        )

    return act


# --- what holds


def test_the_published_value_digest_comes_out():
    """Value 1 of example B of the facts file, as it stands on the wire."""
    wire = bytes.fromhex(
        "00000001" "6ab13b80" "00" "00015180" "0e" "00000003" "55524c"
        "00000014" "68747470733a2f2f652e6578616d706c652f6231" "00000000"
    )  # fmt: skip
    value = Value(1, "URL", b"https://e.example/b1", timestamp=0x6AB13B80)
    assert encode_value(value) == wire
    expected = "nJp60S1o6j7q0/5A/jBJUlZw5IUN410IeCwtVOHLGkE="
    assert digest(value) == expected == base64.b64encode(hashlib.sha256(wire[8:]).digest()).decode()
    claims = jws.parse(public_jws(signed(value)), typ=RECORD_TYPE).claims()
    assert claims["digests"] == {"alg": "SHA-256", "digests": [{"index": 1, "digest": expected}]}


def test_a_whole_answer_verifies():
    made = check(signed(*OPEN))
    assert made.issuer == Prefix("88.107.1001")
    assert (made.subject, made.iat, made.version, made.kind) == ("88.107.1001/BATCH-1", NOW - 60, 1, "batch")
    assert (made.status, made.withheld, made.by_ancestor) == (Status.ACTIVE, (), False)
    assert (made.verified, made.missing) == ({1, 2000}, ())


def test_a_partial_answer_verifies_and_says_what_is_missing():
    made = check(signed(*OPEN, HIDDEN, SECRET), OPEN[1:])
    assert (made.verified, made.missing, made.withheld) == ({2000}, (1,), (2001, 2002))
    assert check(signed(*OPEN), ()).missing == (1, 2000)


def test_the_members_stand_in_their_fixed_order():
    payload = jws.parse(public_jws(signed(*OPEN, HIDDEN)), typ=RECORD_TYPE).payload
    assert list(orjson.loads(payload)) == [
        "iss",
        "sub",
        "iat",
        "ver",
        "status",
        "kind",
        "withheld",
        "digests",
    ]
    assert payload.startswith(b'{"iss":"300:0.NA/88.107.1001","sub":"88.107.1001/BATCH-1","iat":')
    hidden = jws.parse(restricted_jws(signed(*OPEN, HIDDEN)), typ=RESTRICTED_TYPE).payload
    assert list(orjson.loads(hidden)) == ["iss", "sub", "iat", "ver", "salted"]


@pytest.mark.parametrize(("alg", "kind"), [("Ed25519", OKPKey), ("ES256", ECKey)])
def test_another_library_verifies_the_rebuilt_tokens(alg, kind):
    signer = a_signer("88.107.1001", alg)
    keys = (StatementKey.of(signer, nbf=NOW - 3600),)
    chain = a_chain(changed={"88.107.1001": {"keys": keys}})
    record = signed(*OPEN, HIDDEN, signer=signer)
    key = kind.import_key(signer.jwk)
    for token in (public_jws(record), restricted_jws(record)):
        joserfc.jws.deserialize_compact(token, key, algorithms=[alg])
    assert check(record, chain=chain.verified()).verified == {1, 2000, 2001}
    assert len(record.signature.public) == len(record.signature.restricted) == 64


def test_the_tokens_are_rebuilt_byte_for_byte_from_what_is_stored():
    record = signed(*OPEN, HIDDEN)
    stored = replace(record, signature=replace(record.signature))
    assert public_jws(stored) == public_jws(record)
    assert restricted_jws(stored) == restricted_jws(record)
    assert restricted_jws(signed(*OPEN)) is None


def test_the_case_of_the_question_does_not_matter():
    assert check(signed(*OPEN), asked="88.107.1001/batch-1").subject == "88.107.1001/BATCH-1"


@pytest.mark.parametrize("status", [Status.WITHDRAWN, Status.DELETED])
def test_a_tombstone_is_signed_too(status):
    assert check(signed(TOMBSTONE, status=status)).status is status


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
VALUES = st.lists(
    st.builds(
        lambda index, type_, data, ttl, hidden: (
            a_value(index, type_, data, ttl=ttl, visibility=FEDERATION, salt=SALT)
            if hidden
            else a_value(index, type_, data, ttl=ttl)
        ),
        st.integers(1, 2**32 - 1).filter(lambda index: index != 500),
        TEXTS,
        st.binary(max_size=40),
        st.integers(0, 2**31 - 1),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda value: value.index,
)


@given(VALUES, st.data())
def test_every_part_of_every_record_verifies_and_no_changed_value_does(values, data):
    everything = sorted([a_value(500, "T", b""), *values], key=lambda value: value.index)
    record = signed(*everything, status=Status.WITHDRAWN)
    shown = data.draw(st.lists(st.sampled_from(record.values), unique_by=lambda value: value.index))
    assert check(record, shown).verified == {value.index for value in shown}
    victim = data.draw(st.sampled_from(record.values))
    changed = data.draw(
        st.sampled_from(
            [
                replace(victim, data=victim.data + b"!"),
                replace(victim, type=victim.type + "!"),
                replace(victim, ttl=victim.ttl ^ 1),
                replace(victim, permissions=victim.permissions ^ 8),
                replace(victim, references=(("88/1", 1),)),
            ]
        )
    )
    assert reason(check, record, [changed]) == "value_bad"


# --- what is refused


def test_a_changed_value_is_named_by_its_index():
    with pytest.raises(UntrustedError) as refused:
        check(signed(*OPEN), [OPEN[0], a_value(2000, data="67-64-1")])
    assert refused.value.code == "registry.trust.value_bad"
    assert refused.value.field == "values[2000]"
    assert refused.value.params["index"] == 2000


def test_values_that_were_never_signed_or_come_twice_are_refused():
    assert reason(check, signed(*OPEN), [*OPEN, a_value(2003)]) == "value_unsigned"
    assert reason(check, signed(*OPEN), [OPEN[0], OPEN[0]]) == "value_twice"
    assert reason(check, signed(*OPEN), [replace(OPEN[0], index=2000)]) == "value_bad"


def test_who_passes_an_answer_on_cannot_change_who_may_see_it():
    record = signed(*OPEN, HIDDEN)
    assert reason(check, record, [replace(HIDDEN, visibility=PUBLIC)]) == "value_visibility"
    assert reason(check, record, [replace(OPEN[0], visibility=PRIVATE)]) == "value_visibility"


def test_a_value_that_is_not_public_needs_its_own_proof():
    record = signed(*OPEN, HIDDEN)
    assert reason(check, record, [HIDDEN], restricted=False) == "value_unproven"
    assert check(record, OPEN, restricted=False).withheld == (2001,)
    assert reason(check, record, [replace(HIDDEN, salt=bytes(16))]) == "value_bad"
    assert reason(check, record, [replace(HIDDEN, salt=b"")]) == "value_bad"


def test_the_restricted_part_belongs_to_the_same_version():
    one, two = signed(*OPEN, HIDDEN), signed(*OPEN, HIDDEN, version=2)
    mixed = {
        "shown": one.values, "chain": VERIFIED, "identifier": one.identifier, "now": NOW,
        "public_jws": public_jws(one), "restricted_jws": restricted_jws(two),
    }  # fmt: skip
    assert reason(verify_record, **mixed) == "restricted_other"
    fewer = signed(*OPEN, HIDDEN, SECRET)
    assert reason(verify_record, **{**mixed, "restricted_jws": restricted_jws(fewer)}) == "restricted_other"
    assert reason(verify_record, **{**mixed, "restricted_jws": public_jws(one)}) == "jws_typ"
    assert reason(verify_record, **{**mixed, "public_jws": restricted_jws(one)}) == "jws_typ"


def test_a_digest_of_a_hidden_value_cannot_be_guessed_from_the_public_part():
    public = public_jws(signed(*OPEN, HIDDEN))
    payload = jws.parse(public, typ=RECORD_TYPE).payload.decode()
    assert digest(HIDDEN) not in payload
    hidden = jws.parse(restricted_jws(signed(*OPEN, HIDDEN)), typ=RESTRICTED_TYPE).payload.decode()
    assert digest(HIDDEN) not in hidden


def test_another_record_or_another_prefix_is_refused():
    record = signed(*OPEN)
    assert reason(check, record, asked="88.107.1001/BATCH-2") == "record_subject"
    assert reason(check, record, asked="88.107.1002/BATCH-1") == "record_subject"
    assert reason(check, record, chain=CHAIN.verified("88.107")) == "kid_unknown"
    foreign = sign_record(a_record("88.107.1002/X"), CHAIN.signer, CHAIN.prefix)
    assert reason(check, foreign) == "record_outside"
    near = sign_record(a_record("88.107.10010/X"), CHAIN.signer, CHAIN.prefix)
    assert reason(check, near) == "record_outside"
    borrowed = sign_record(a_record(), CHAIN.signer, Prefix("88.107"))
    assert reason(check, borrowed) == "record_issuer"


def test_a_superior_signs_what_lies_below_it_and_the_answer_says_so():
    park = CHAIN.signers["88.107"]
    record = sign_record(a_record(), park, Prefix("88.107"))
    assert check(record, chain=CHAIN.verified("88.107")).by_ancestor


def test_the_record_of_a_prefix_is_its_superiors():
    park, top = CHAIN.signers["88.107"], CHAIN.signers["88"]
    own = a_record("0.NA/88.107")
    by_top = sign_record(own, top, Prefix("88"))
    assert not check(by_top, chain=CHAIN.verified("88")).by_ancestor
    assert (
        reason(check, sign_record(own, park, Prefix("88.107")), chain=CHAIN.verified("88.107"))
        == "record_outside"
    )
    topmost = sign_record(a_record("0.NA/88"), top, Prefix("88"))
    assert check(topmost, chain=CHAIN.verified("88")).issuer == Prefix("88")
    assert (
        reason(check, sign_record(a_record("0.NA/0.NA"), top, Prefix("88")), chain=CHAIN.verified("88"))
        == "record_outside"
    )


@pytest.mark.parametrize("state", ["suspended", "revoked"])
def test_nothing_a_suspended_or_revoked_prefix_signed_is_accepted(state):
    chain = a_chain(changed={"88.107.1001": {"state": state}}).verified()
    assert reason(check, signed(*OPEN), chain=chain) == f"state_{state}"


def test_time_is_checked():
    record = signed(*OPEN)
    assert reason(check, record, now=VERIFIED.expires + 1) == "expired"
    assert check(signed(*OPEN, modified=NOW + 300)).iat == NOW + 300
    assert reason(check, signed(*OPEN, modified=NOW + 301)) == "record_future"


def test_a_key_rotated_out_vouches_for_what_it_signed_in_its_time():
    old, new = a_signer("old"), a_signer("new")
    keys = (StatementKey.of(new, nbf=NOW - 1000), StatementKey.of(old, nbf=NOW - 9000, exp=NOW - 500))
    chain = a_chain(changed={"88.107.1001": {"keys": keys}}).verified()
    assert check(signed(*OPEN, signer=old, modified=NOW - 600), chain=chain).version == 1
    assert check(signed(*OPEN, signer=new, modified=NOW - 600), chain=chain).version == 1
    assert reason(check, signed(*OPEN, signer=old, modified=NOW - 499), chain=chain) == "key_not_in_use"
    assert reason(check, signed(*OPEN, signer=a_signer("dropped")), chain=chain) == "kid_unknown"


def test_a_signature_by_another_hand_is_refused():
    record = signed(*OPEN)
    wrong = replace(record, signature=replace(record.signature, public=bytes(64)))
    assert reason(check, wrong) == "signature"
    other = replace(record, version=2)
    assert reason(check, other) == "signature"
    withdrawn = signed(OPEN[0], TOMBSTONE, OPEN[1], status=Status.WITHDRAWN)
    assert reason(check, replace(withdrawn, status=Status.ACTIVE)) == "signature"
    assert reason(check, replace(record, signature=replace(record.signature, alg="ES256"))) == "signature_alg"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "88.107.1001"}, "issuer"),
        ({"iss": "300:0.NA/0.NA"}, "record_issuer"),
        ({"sub": ""}, "claim_type"),
        ({"iat": "now"}, "claim_type"),
        ({"ver": 0}, "claim_type"),
        ({"status": "asleep"}, "state_unknown"),
        ({"status": "withdrawn"}, "tombstone"),
        ({"status": "deleted"}, "tombstone"),
        ({"kind": 1}, "claim_type"),
        ({"withheld": [1]}, "value_both"),
        ({"withheld": [9, 8]}, "digest_index"),
        ({"withheld": [0]}, "digest_index"),
        ({"withheld": [2**32]}, "digest_index"),
        ({"withheld": [True]}, "digest_index"),
        ({"withheld": "x"}, "claim_type"),
        ({"digests": []}, "claim_type"),
        ({"digests": {"alg": "SHA-1", "digests": []}}, "digest_alg"),
        ({"digests": {"alg": "SHA-256"}}, "claim_missing"),
        ({"digests": {"alg": "SHA-256", "digests": [1]}}, "claim_type"),
        ({"digests": {"alg": "SHA-256", "digests": [{"index": 1}]}}, "claim_type"),
        ({"digests": {"alg": "SHA-256", "digests": [{"index": [1], "digest": "x"}]}}, "digest_index"),
        ({"digests": {"alg": "SHA-256", "digests": [{"index": 1, "digest": "x"}] * 2}}, "digest_index"),
        ({"digests": {"alg": "SHA-256", "digests": [{"index": 1, "digest": "x"}]}}, "value_bad"),
    ],
)
def test_what_a_bad_issuer_signed_is_refused_all_the_same(claims, expected):
    assert reason(forged(**claims)) == expected


@pytest.mark.parametrize("name", ["iss", "sub", "iat", "ver", "status", "kind", "withheld", "digests"])
def test_no_claim_may_be_missing(name):
    assert reason(forged(without=[name])) == "claim_missing"


def test_a_token_of_another_type_is_no_record():
    assert reason(forged(typ="hz-statement+jws")) == "jws_typ"


def test_the_frame_of_an_answer_must_be_what_was_signed():
    record = signed(*OPEN)
    made = check(record)
    made.require_match(record)
    for name, change in {
        "identifier": Identifier.parse("88.107.1001/batch-1"),
        "kind": "device",
        "version": 2,
        "status": Status.WITHDRAWN,
        "modified": NOW,
    }.items():
        with pytest.raises(UntrustedError) as refused:
            made.require_match(replace(record, **{name: change}))
        assert refused.value.field == name
        assert refused.value.code == "registry.trust.record_frame"


def test_what_could_not_be_verified_is_not_signed():
    saltless = a_value(2001, visibility=Visibility(Scope.PREFIXES, ("88",)))
    assert reason(signed, saltless, kind=InternalError) == "salt"
    assert reason(signed, *OPEN, status=Status.WITHDRAWN, kind=InternalError) == "tombstone"
    hidden = replace(TOMBSTONE, visibility=PRIVATE, salt=SALT)
    assert reason(signed, hidden, status=Status.DELETED, kind=InternalError) == "tombstone"
    assert reason(signed, *reversed(OPEN), kind=InternalError) == "value_order"
    assert reason(signed, OPEN[0], OPEN[0], kind=InternalError) == "value_order"
    assert reason(public_jws, a_record(), kind=InternalError) == "unsigned"
    assert reason(restricted_jws, a_record(), kind=InternalError) == "unsigned"
