"""Revocation lists: reading, verifying, merging, and what stands although a key is revoked."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import HazlinkError, InvalidValueError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.encoding import b64u
from registry.trust.revocation import (
    REVOCATION_TYPE,
    LastGood,
    Reason,
    RevocationBook,
    Revoked,
    Signed,
    issue_revocation,
    last_good_claim,
    last_good_of,
    list_advances,
    read_revocation,
    stands,
    verify_revocation,
)
from tests.support.trust import DAY, NOW, a_chain, a_root, a_signer

PARK, PLANT = Prefix("88.107"), Prefix("88.107.1001")
STOLEN = a_signer("88.107.1001")

KIDS = st.sampled_from([a_signer(name).kid for name in "ab"])
PLACES = st.builds(LastGood, st.integers(1, 3), st.integers(0, 9))
ENTRIES = st.builds(
    Revoked,
    KIDS,
    st.integers(NOW - 9, NOW + 9),
    st.sampled_from(Reason),
    st.dictionaries(st.sampled_from(["alarm", "flow"]), PLACES, max_size=2),
)
SIGNED = st.builds(
    Signed,
    at=st.none() | st.integers(NOW - 12, NOW + 12),
    witnessed=st.none() | st.integers(NOW - 12, NOW + 12),
    stream=st.sampled_from([None, "alarm", "flow", "query"]),
    epoch=st.integers(1, 3),
    seq=st.integers(1, 9),
)


def reason(act, *args, kind=UntrustedError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    error: HazlinkError = refused.value
    assert error.message("zh") != error.message("en")
    return error.code.removeprefix("registry.trust.")


def an_entry(kid=STOLEN.kid, at=NOW - 60, why=Reason.COMPROMISE, **last):
    return Revoked(kid, at, why, {stream: LastGood(*place) for stream, place in last.items()})


def a_list(*entries, issuer=PARK, signer=None, ver=1, iat=NOW - 30, exp=NOW + DAY):
    signer = signer or a_signer(issuer.key if issuer else "root")
    return issue_revocation(signer, issuer=issuer, ver=ver, iat=iat, exp=exp, revoked=entries)


def forged(signer=None, **claims):
    content = orjson.loads(read_revocation(a_list(an_entry())).parsed.payload) | claims
    return jws.sign(signer or a_signer("88.107"), REVOCATION_TYPE, orjson.dumps(content))


# --- reading and verifying


def test_a_list_says_what_was_signed():
    entry = an_entry(alarm=(1, 7), flow=(2, 0))
    made = verify_revocation(a_list(entry, ver=3), a_chain().verified("88.107"), now=NOW)
    assert (made.issuer, made.ver, made.revoked) == (PARK, 3, (entry,))
    assert made.find(STOLEN.kid) == entry
    assert made.find(a_signer("other").kid) is None
    assert made.issuer_name == "88.107"
    assert jws.parse(made.token, typ="hz-revocation+jws") == made.parsed
    assert [one.value for one in Reason] == ["compromise", "superseded", "cessation"]


@pytest.mark.parametrize("why", list(Reason))
def test_each_reason_is_read_as_it_was_written(why):
    entry = an_entry(why=why, flow=(1, 1))
    assert read_revocation(a_list(entry)).revoked == (entry,)


def test_a_list_of_the_root_needs_a_key_of_the_root():
    entry, anchor = an_entry(a_signer("88").kid), a_root().anchor
    stranger = a_list(entry, issuer=None, signer=a_signer("stranger"))
    assert reason(verify_revocation, stranger, anchor, now=NOW) == "kid_unknown"
    for token, above in (
        (a_list(entry, issuer=None), anchor),
        (a_list(an_entry()), a_chain().verified("88.107")),
    ):
        altered = f"{token.rpartition('.')[0]}.{b64u(bytes(64))}"
        assert reason(verify_revocation, altered, above, now=NOW) == "signature"
        verify_revocation(token, above, now=NOW)


def test_a_list_may_come_from_a_clock_that_is_five_minutes_ahead():
    made = verify_revocation(a_list(an_entry(), iat=NOW + 300), a_chain().verified("88.107"), now=NOW)
    assert made.iat == NOW + 300


def a_row(number=0, **other):
    return {"kid": b64u(number.to_bytes(32, "big")), "revoked_at": 1, "reason": "cessation"} | other


def streams(count):
    return {f"s{number}": {"epoch": 1, "seq": number} for number in range(count)}


def test_lists_have_their_limits():
    assert len(read_revocation(forged(revoked=[a_row(n) for n in range(2048)])).revoked) == 2048
    assert reason(read_revocation, forged(revoked=[a_row(n) for n in range(2049)])) == "claim_type"
    assert len(read_revocation(forged(revoked=[a_row(last_good=streams(16))])).revoked[0].last_good) == 16
    assert reason(read_revocation, forged(revoked=[a_row(last_good=streams(17))])) == "claim_type"
    assert reason(read_revocation, "x" * 262_144) == "jws_segments"
    assert reason(read_revocation, "x" * 262_145) == "jws_size"
    for length in (31, 33):
        assert reason(read_revocation, forged(revoked=[a_row(kid=b64u(bytes(length)))])) == "jws_kid"
    assert read_revocation(forged(revoked=[a_row(reason="r" * 32)])).revoked[0].reason is Reason.COMPROMISE
    assert reason(read_revocation, forged(revoked=[a_row(reason="r" * 33)])) == "claim_type"
    assert reason(read_revocation, forged(exp=NOW - 30)) == "life_empty"


def test_a_refused_position_is_named_by_its_path():
    with pytest.raises(UntrustedError) as refused:
        read_revocation(forged(revoked=[a_row(), a_row(1, last_good={"flow": {"epoch": 1}})]))
    assert refused.value.field == "revoked[1].last_good.flow.seq"
    with pytest.raises(MalformedError) as alone:
        last_good_of({"flow": 1})
    assert alone.value.field == "last_good.flow"


def test_positions_are_spelled_in_one_order():
    last = {"flow": LastGood(2, 3), "alarm": LastGood(1, 0)}
    assert list(last_good_claim(last).items()) == [
        ("alarm", {"epoch": 1, "seq": 0}),
        ("flow", {"epoch": 2, "seq": 3}),
    ]
    assert last_good_of(last_good_claim(last)) == last


def test_what_is_not_said_is_nothing():
    assert Revoked(STOLEN.kid, NOW, Reason.CESSATION).last_good == {}
    assert Signed() == Signed(at=None, witnessed=None, stream=None, epoch=0, seq=0)
    assert (RevocationBook().entries, RevocationBook().expires) == ({}, {})


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [
        ((Reason.SUPERSEDED, {}), (Reason.SUPERSEDED, {"flow": (2, 3)}), (Reason.CESSATION, {"flow": (2, 3)})),
        ((Reason.SUPERSEDED, {"flow": (1, 9)}), (Reason.SUPERSEDED, {"flow": (2, 3)}),
         (Reason.SUPERSEDED, {"flow": (1, 9)})),
        ((Reason.SUPERSEDED, {"flow": (1, 9)}), (Reason.SUPERSEDED, {"alarm": (1, 1)}),
         (Reason.SUPERSEDED, {"flow": (0, 0), "alarm": (0, 0)})),
        ((Reason.SUPERSEDED, {"flow": (1, 9)}), (Reason.CESSATION, {"flow": (1, 9)}),
         (Reason.CESSATION, {"flow": (1, 9)})),
        ((Reason.CESSATION, {}), (Reason.CESSATION, {}), (Reason.CESSATION, {})),
        ((Reason.CESSATION, {}), (Reason.COMPROMISE, {}), (Reason.COMPROMISE, {})),
        ((Reason.SUPERSEDED, {}), (Reason.SUPERSEDED, {}), (Reason.CESSATION, {})),
    ],
)  # fmt: skip
def test_of_two_words_on_a_key_the_stricter_of_each_holds(one, other, merged):
    made = [an_entry(at=NOW + n, why=why, **last) for n, (why, last) in enumerate((one, other))]
    right = an_entry(at=NOW, why=merged[0], **merged[1])
    assert made[0].merged(made[1]) == made[1].merged(made[0]) == right


def test_the_root_revokes_keys_of_the_top():
    entry = an_entry(a_signer("88").kid)
    made = verify_revocation(a_list(entry, issuer=None), a_root().anchor, now=NOW)
    assert made.issuer_name == "0.NA"


def test_an_expired_list_still_counts_and_is_called_stale():
    made = verify_revocation(a_list(an_entry(), exp=NOW - 1), a_chain().verified("88.107"), now=NOW)
    assert made.is_stale(NOW)
    assert made.is_stale(NOW - 1) is False
    assert made.find(STOLEN.kid) is not None


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda: a_list(an_entry(), signer=a_signer("stranger")), "kid_unknown"),
        (lambda: a_list(an_entry(), issuer=Prefix("88"), signer=a_signer("88.107")), "list_issuer"),
        (lambda: a_list(an_entry(), iat=NOW + 301, exp=NOW + DAY), "list_future"),
        (lambda: a_list(an_entry(), iat=NOW - 2 * DAY), "key_not_in_use"),
        (lambda: forged(ver=0), "claim_type"),
        (lambda: forged(exp=NOW - DAY), "life_empty"),
        (lambda: forged(revoked=[{"kid": "x", "revoked_at": 1, "reason": "compromise"}]), "jws_kid"),
        (lambda: forged(revoked=[{"kid": STOLEN.kid, "reason": "compromise"}]), "claim_missing"),
        (lambda: forged(revoked={}), "claim_type"),
    ],
)
def test_a_list_that_does_not_hold_is_refused(token, code):
    assert reason(verify_revocation, token(), a_chain().verified("88.107"), now=NOW) == code


def test_one_key_stands_in_a_list_once():
    assert reason(a_list, an_entry(), an_entry(at=NOW), kind=InvalidValueError) == "revoked_twice"


def test_a_reason_of_a_newer_release_is_read_as_the_worst():
    row = {"kid": STOLEN.kid, "revoked_at": NOW, "reason": "moon-phase"}
    assert read_revocation(forged(revoked=[row])).revoked[0].reason is Reason.COMPROMISE


def test_versions_of_lists_only_rise():
    assert list_advances("88", None, (1, "a"))
    assert list_advances("88", (1, "a"), (9, "b"))
    assert list_advances("88", (9, "b"), (9, "b")) is False
    assert reason(list_advances, "88", (9, "b"), (8, "c")) == "list_rolled_back"
    assert reason(list_advances, "88", (9, "b"), (9, "c")) == "list_equivocation"


# --- what stands


def at(seq, epoch=1, stream="flow", **other):
    return Signed(stream=stream, epoch=epoch, seq=seq, **{"at": NOW, **other})


def test_fault_06_before_and_after_a_revocation():
    stolen = an_entry(at=NOW)
    assert stands(None, at(1))
    assert stands(stolen, at(1, witnessed=NOW - 1))
    assert not stands(stolen, at(1, witnessed=NOW))
    assert not stands(stolen, at(1))
    assert stands(an_entry(at=NOW + 60), at(1)), "the theft is announced for later"


def test_what_has_no_stream_stands_by_its_time_or_not_at_all():
    rotated = an_entry(at=NOW, why=Reason.SUPERSEDED, flow=(1, 10))
    assert stands(rotated, Signed(at=NOW - 1)) is True
    assert stands(rotated, Signed(at=NOW)) is False
    assert stands(rotated, at(11)) is False
    stolen = an_entry(at=NOW)
    assert stands(stolen, Signed(at=NOW - 1)) is False
    assert stands(stolen, Signed(at=NOW + 9, witnessed=NOW - 1)) is True


def test_fault_06_a_thousand_in_flight_when_a_key_is_rotated_none_is_lost_or_refused():
    rotated = an_entry(at=NOW - DAY, why=Reason.SUPERSEDED, flow=(1, 1000))
    assert all(stands(rotated, at(seq, at=NOW + DAY)) for seq in range(1, 1001))
    assert not stands(rotated, at(1001))
    assert not stands(rotated, at(1, epoch=2))
    assert not stands(rotated, at(1, stream="alarm")), "the key never signed there"


def test_fault_06_nothing_is_dated_back():
    rotated = an_entry(at=NOW - DAY, why=Reason.SUPERSEDED, flow=(1, 10))
    assert not stands(rotated, at(11, at=NOW - 2 * DAY, witnessed=NOW - 2 * DAY))
    # a statement says of itself when it was made; of a stolen key that is worth nothing
    assert not stands(an_entry(at=NOW), Signed(at=NOW - DAY))
    assert stands(an_entry(at=NOW, why=Reason.CESSATION), Signed(at=NOW - DAY))
    given_up = an_entry(at=NOW - DAY, why=Reason.CESSATION, flow=(1, 10))
    assert not stands(given_up, at(10))
    assert stands(given_up, at(10, at=NOW - 2 * DAY))


def test_even_what_was_witnessed_does_not_stand_behind_the_last_good_position():
    stolen = an_entry(at=NOW, flow=(1, 5))
    assert stands(stolen, at(5, witnessed=NOW - 9))
    assert not stands(stolen, at(6, witnessed=NOW - 9))


@given(ENTRIES, ENTRIES, SIGNED)
def test_what_stands_after_merging_stood_before_for_each(one, other, signed):
    other = Revoked(one.kid, other.revoked_at, other.reason, other.last_good)
    merged = one.merged(other)
    assert merged == other.merged(one)
    assert merged.merged(merged) == merged
    if stands(merged, signed):
        assert stands(one, signed)
        assert stands(other, signed)


# --- the book


def test_nobody_revokes_the_keys_of_another_superior():
    chain = a_chain().verified()
    foreign = RevocationBook({("88.108", STOLEN.kid): an_entry()})
    foreign.require(chain, STOLEN.kid, at(1))
    book = RevocationBook({("88.107", STOLEN.kid): an_entry()})
    assert reason(book.require, chain, STOLEN.kid, at(1)) == "key_revoked"


@pytest.mark.parametrize(("issuer", "holder"), [("0.NA", "88"), ("88", "88.107"), ("0.NA", "root")])
def test_a_chain_that_rests_on_a_stolen_key_falls(issuer, holder):
    kid = a_signer(holder).kid
    book = RevocationBook({(issuer, kid): an_entry(kid, at=NOW)})
    assert reason(book.require_chain, a_chain().verified()) == "key_revoked"
    rotated = RevocationBook({(issuer, kid): an_entry(kid, at=NOW, why=Reason.SUPERSEDED)})
    rotated.require_chain(a_chain().verified())


def test_the_book_names_the_issuers_whose_lists_have_expired():
    book = RevocationBook({}, {"88.2": NOW - 1, "88.1": NOW - 9, "88": NOW - 3, "88.107": NOW})
    assert book.stale(NOW) == ("88", "88.1", "88.2")


def test_the_book_asks_for_the_key_and_for_the_chain_it_hangs_on():
    chain, top = a_chain().verified(), a_signer("88").kid
    above = RevocationBook({("88", a_signer("88.107").kid): an_entry(a_signer("88.107").kid, at=NOW)})
    assert reason(above.require, chain, STOLEN.kid, at(1)) == "key_revoked"
    book = RevocationBook({("88.107", STOLEN.kid): an_entry(at=NOW)})
    book.require(chain, STOLEN.kid, at(1, witnessed=NOW - 1))
    book.require(chain, top, at(1))
    assert reason(book.require, chain, STOLEN.kid, at(1)) == "key_revoked"
