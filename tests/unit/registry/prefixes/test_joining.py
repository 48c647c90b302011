"""The guest believes nothing it has not verified."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from registry.delegation import Contact, HomeState
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    MalformedIdentifierError,
    NotResponsibleError,
    NotSupportedError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.joindesk import Application, Standing
from registry.trust.possession import make_possession
from tests.support.prefixes import (
    DAY,
    MovedClock,
    TestNode,
    a_top,
    ask,
    invited,
    joined,
    operator_of,
)
from tests.support.trust import a_signer

P = Prefix.parse
PARK = P("88.107")


@pytest.fixture
def asked(top: TestNode, plant: TestNode) -> TestNode:
    """A node that waits for 88.108, which the superior has just approved."""
    ask(top, plant, "88.108")
    top.prefixes.approve(operator_of("88"), P("88.108"))
    return plant


def of_another_prefix(good: Standing, top: TestNode) -> Standing:
    return replace(top.prefixes.delegated(PARK), prefix=good.prefix)


def with_foreign_key(good: Standing, top: TestNode) -> Standing:
    """The superior's operator gave the prefix to somebody else's key."""
    letter = invited(top, "88.109", parent="88")
    thief = a_signer("thief")
    top.prefixes.submit(
        Application(
            secret=letter.secret,
            jwk={**thief.jwk, "alg": thief.alg},
            possession=make_possession(
                thief,
                audience="0.NA/88",
                subject="0.NA/88.109",
                nonce=top.prefixes.challenge(),
                iat=int(top.clock.now()),
            ),
            prefix="88.109",
            endpoints={"resolve": []},
            who=Contact(),
        )
    )
    top.prefixes.approve(operator_of("88"), P("88.109"))
    return top.prefixes.delegated(P("88.109"))


def record(good: Standing, **changes: object) -> Standing:
    assert good.record is not None
    return replace(good, record={**good.record, **changes})


WRONG: dict[str, Callable[[Standing, TestNode], Standing]] = {
    "no chain": lambda good, top: replace(good, chain=()),
    "half a chain": lambda good, top: replace(good, chain=good.chain[:1]),
    "upside down": lambda good, top: replace(good, chain=good.chain[::-1]),
    "a flipped bit": lambda good, top: replace(good, chain=(good.chain[0][:-3] + "AAA", *good.chain[1:])),
    "no root": lambda good, top: replace(good, roots=()),
    "another prefix": of_another_prefix,
    "another key": with_foreign_key,
    "no record": lambda good, top: replace(good, record=None),
    "another record": lambda good, top: replace(good, record=top.prefixes.delegated(PARK).record),
    "a record of another version": lambda good, top: record(good, version=2),
    "a record without signature": lambda good, top: record(good, signature=None),
    "a record without values": lambda good, top: record(good, values=[]),
    "a record of another kind": lambda good, top: record(good, kind="generic"),
}


@pytest.mark.parametrize("row", WRONG)
def test_what_does_not_hold_changes_nothing(asked: TestNode, top: TestNode, park: TestNode, row: str) -> None:
    good = top.prefixes.delegated(P("88.108"))
    wrong = WRONG[row](good, top)
    target = wrong.prefix if row == "another key" else P("88.108")
    if row == "another key":
        asked.prefixes.joining.begin(invited(top, "88.109", parent="88"), None, who="installer")
    with pytest.raises(HazlinkError) as refusal:
        asked.prefixes.joining.learn(target, wrong)
    assert isinstance(refusal.value, UntrustedError), refusal.value
    home = asked.homes.home(target)
    assert home is not None
    assert (home.state, home.chain) == (HomeState.PENDING, ())
    assert asked.record(target.handle.text) is None
    assert asked.prefixes.joining.learn(P("88.108"), good).state is HomeState.ACTIVE


def test_a_statement_that_expired_on_the_way_is_refused(
    asked: TestNode, top: TestNode, clock: MovedClock
) -> None:
    good = top.prefixes.delegated(P("88.108"))
    clock.time += 91 * DAY
    with pytest.raises(UntrustedError):
        asked.prefixes.joining.learn(P("88.108"), good)


def test_roots_stored_once_are_not_replaced(park: TestNode, top: TestNode, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    other = a_top(tmp_path / "else", top.clock)
    with other.store.read() as unit:
        foreign = tuple(unit.roots())
    standing = replace(top.prefixes.delegated(PARK), roots=foreign)
    with pytest.raises(UntrustedError, match="differ from those stored"):
        park.prefixes.joining.learn(PARK, standing)


def test_an_invitation_is_checked_before_anything_is_sent(
    top: TestNode, plant: TestNode, clock: MovedClock
) -> None:
    begin = plant.prefixes.joining.begin
    open_letter, letter = invited(top, None, parent="88"), invited(top, "88.5", parent="88")
    rows: list[tuple[object, Prefix | None, type[HazlinkError]]] = [
        (open_letter, None, InvalidValueError),
        (open_letter, P("88.5.1"), MalformedIdentifierError),
        (open_letter, P("881.5"), MalformedIdentifierError),
        (letter, P("88.6"), ForbiddenError),
    ]
    for given, prefix, error in rows:
        with pytest.raises(error):
            begin(given, prefix, who="installer")
    clock.time += 8 * DAY
    with pytest.raises(ForbiddenError, match="expired"):
        begin(letter, None, who="installer")
    assert plant.keys.kids() == ()
    assert plant.homes.all() == ()


def test_who_has_a_prefix_does_not_join_it_again(top: TestNode, park: TestNode) -> None:
    letter = replace(invited(top, "88.5", parent="88"), prefix=PARK)
    with pytest.raises(ExistsError):
        park.prefixes.joining.begin(letter, None, who="installer")


def test_asking_again_keeps_the_key(top: TestNode, plant: TestNode) -> None:
    first = ask(top, plant, "88.5")
    again = plant.prefixes.joining.begin(
        replace(invited(top, "88.6", parent="88"), prefix=P("88.5")), None, who="installer"
    )
    assert again.kid == first.kid
    assert plant.keys.kids() == (first.kid,)


def test_amendments_are_for_joined_and_approved_prefixes(
    top: TestNode, park: TestNode, plant: TestNode
) -> None:
    nonce = top.prefixes.challenge()
    with pytest.raises(NotResponsibleError):
        plant.prefixes.joining.amendment(P("88.5"), nonce=nonce)
    ask(top, plant, "88.5")
    with pytest.raises(ConflictError, match="waiting"):
        plant.prefixes.joining.amendment(P("88.5"), nonce=nonce)
    with pytest.raises(NotSupportedError):
        top.prefixes.joining.amendment(P("88"), nonce=nonce)


def test_one_node_homes_any_number_of_prefixes(top: TestNode, park: TestNode) -> None:
    joined(top, park, "88.108")
    park.prefixes.host(operator_of("88.108"), P("88.108.1"))
    for prefix in ("88.107", "88.108", "88.108.1"):
        park.register(f"{prefix}/A")
        assert park.verified(f"{prefix}/A", park.chain(prefix)).issuer == P(prefix)
    assert len({park.homes.signer_for(P(prefix))[0].kid for prefix in ("88.107", "88.108", "88.108.1")}) == 3
