import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.delegation import Purpose
from registry.errors import ForbiddenError, HazlinkError, MalformedError, UnauthenticatedError
from registry.identifier import Prefix
from registry.prefixes.invitations import InvitationLetter
from registry.trust.algorithms import thumbprint
from tests.support.prefixes import DAY, MovedClock, TestNode, invited
from tests.support.trust import a_signer

KID = thumbprint(a_signer("guest").jwk)
labels = st.from_regex(r"\A[A-Z0-9_-]{1,6}\Z")


@st.composite
def letters(draw: st.DrawFn) -> InvitationLetter:
    parent = Prefix(".".join(draw(st.lists(labels, min_size=1, max_size=4))))
    child = draw(st.none() | labels.map(lambda label: Prefix(f"{parent}.{label}")))
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
    return InvitationLetter(
        urls=tuple(draw(st.lists(text, min_size=1, max_size=3))),
        anchor=draw(text),
        secret=draw(text),
        parent=parent,
        prefix=child,
        expires=draw(st.integers(0, 2**40)),
        tls_sha256=draw(st.none() | text),
        purpose=draw(st.sampled_from(Purpose)),
    )


@given(letters())
def test_a_letter_comes_back_from_its_text(letter: InvitationLetter) -> None:
    assert InvitationLetter.from_text(letter.to_text()) == letter


@given(letters(), st.data())
def test_white_space_from_a_mail_does_no_harm(letter: InvitationLetter, data: st.DataObject) -> None:
    line = letter.to_text()
    cut = data.draw(st.integers(0, len(line)))
    assert InvitationLetter.from_text(f"  {line[:cut]}\r\n {line[cut:]}\n") == letter


@given(st.text(max_size=200) | st.text(max_size=200).map(lambda tail: "hzi1." + tail))
def test_anything_else_is_refused_as_unreadable(line: str) -> None:
    with pytest.raises(MalformedError) as refusal:
        InvitationLetter.from_text(line)
    assert refusal.value.code == "registry.prefixes.invitation_unreadable"


def test_the_secret_is_stored_only_as_a_keyed_hash(top: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    stored = (top.folder / "hazlink.db").read_bytes() + (top.folder / "hazlink.db-wal").read_bytes()
    assert letter.secret.encode() not in stored
    digest = top.prefixes._office.invitations.digest(letter.secret)
    assert digest.encode() in stored


def test_another_nodes_key_gives_another_hash(top: TestNode, plant: TestNode) -> None:
    digests = {node.prefixes._office.invitations.digest("same") for node in (top, plant)}
    assert len(digests) == 2


def test_the_letter_carries_the_fingerprint_of_the_anchor(top: TestNode) -> None:
    anchor = top.prefixes.anchor()
    assert anchor is not None
    assert invited(top, "88.107", parent="88").anchor == anchor.fingerprint


def test_an_invitation_ends_at_its_date(top: TestNode, clock: MovedClock) -> None:
    letter = invited(top, "88.107", parent="88", ttl_seconds=DAY)
    invitations = top.prefixes._office.invitations
    clock.time += DAY
    with top.store.read() as unit:
        assert invitations.check(unit, letter.secret, KID).prefix == Prefix("88.107")
    clock.time += 1
    with top.store.read() as unit, pytest.raises(ForbiddenError, match="expired"):
        invitations.check(unit, letter.secret, KID)


def test_a_used_invitation_serves_its_user_again_and_nobody_else(top: TestNode, clock: MovedClock) -> None:
    letter = invited(top, "88.107", parent="88")
    invitations = top.prefixes._office.invitations
    with top.store.write() as unit:
        made = invitations.check(unit, letter.secret, KID)
        assert unit.use_invitation(made.digest, KID, int(clock.now()))
        assert not unit.use_invitation(made.digest, "somebody else", int(clock.now()))
    with top.store.read() as unit:
        assert invitations.check(unit, letter.secret, KID).used_kid == KID
        with pytest.raises(ForbiddenError, match="another key"):
            invitations.check(unit, letter.secret, "somebody else")


@pytest.mark.parametrize("nonce", ["", "AAAA", "A" * 43, "not base64!", "é"])
def test_a_nonce_that_is_not_ours_is_refused(top: TestNode, nonce: str) -> None:
    with top.store.write() as unit, pytest.raises(UnauthenticatedError):
        top.prefixes._office.invitations.use_nonce(unit, nonce)


def test_a_nonce_is_good_once_and_for_ten_minutes(top: TestNode, clock: MovedClock) -> None:
    invitations = top.prefixes._office.invitations
    first, second = invitations.challenge(), invitations.challenge()
    assert first != second
    with top.store.write() as unit:
        invitations.use_nonce(unit, first)
    with top.store.write() as unit, pytest.raises(UnauthenticatedError, match="used before"):
        invitations.use_nonce(unit, first)
    clock.time += 601
    with top.store.write() as unit, pytest.raises(UnauthenticatedError, match="not fresh"):
        invitations.use_nonce(unit, second)


def test_used_nonces_are_forgotten_only_when_they_could_not_be_used_any_more(
    top: TestNode, clock: MovedClock
) -> None:
    invitations = top.prefixes._office.invitations
    nonce = invitations.challenge()
    with top.store.write() as unit:
        invitations.use_nonce(unit, nonce)
    for _ in range(70):
        clock.time += 10
        with top.store.write() as unit, pytest.raises(HazlinkError):
            invitations.use_nonce(unit, nonce)
