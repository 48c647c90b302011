"""The root of a node gets its next version: proposed, signed by several, published, learned by the tiers below."""

from pathlib import Path

import pytest

from registry.errors import (
    ConflictError,
    ForbiddenError,
    InvalidValueError,
    NotFoundError,
    NotResponsibleError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.trust.algorithms import ALGORITHMS, admit
from registry.trust.ceremony import read_ceremony
from registry.trust.keys import KeyFolder
from registry.trust.root import make_root, read_root
from registry.trust.statement import read
from tests.support.prefixes import MovedClock, TestNode, a_node, admin_of, joined, operator_of

P = Prefix.parse
PARK, PLANT = P("88.107"), P("88.107.1001")


@pytest.fixture
def keyholders(tmp_path: Path) -> list[KeyFolder]:
    """Three people with a key each, on machines of their own."""
    folders = [KeyFolder(tmp_path / f"holder-{name}", b"secret") for name in "abc"]
    for folder in folders:
        folder.create()
    return folders


def public(folder: KeyFolder):
    return admit(signer_of(folder).jwk, tuple(ALGORITHMS))


def signer_of(folder: KeyFolder):
    return folder.load(folder.kids()[0])


def root_kid(node: TestNode) -> str:
    return next(iter(node.prefixes.rooting.roots()[-1].keys))


def passed_round(ceremony, *folders):
    """The file goes to each keyholder in turn."""
    for folder in folders:
        ceremony = read_ceremony(read_ceremony(ceremony.text()).signed(signer_of(folder)).text())
    return ceremony


def rotated(top: TestNode, keyholders: list[KeyFolder], *, threshold: int = 2):
    """Version 2: two of three keyholders and the first key must sign."""
    rooting, who = top.prefixes.rooting, admin_of("88")
    proposed = rooting.propose(who, add=[public(one) for one in keyholders], threshold=threshold)
    signed = passed_round(rooting.sign(proposed), *keyholders[: threshold - 1])
    return rooting.publish(who, signed)


def code(refused: pytest.ExceptionInfo) -> str:
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.rpartition(".")[2]


def test_a_root_of_one_becomes_a_root_of_two_out_of_four(top: TestNode, keyholders: list[KeyFolder]):
    before = top.prefixes.anchor()
    anchor = rotated(top, keyholders)
    assert (anchor.root.ver, anchor.root.threshold, len(anchor.root.keys)) == (2, 2, 4)
    assert top.prefixes.anchor() == anchor
    assert anchor.fingerprint == before.fingerprint
    assert top.chain("88").anchor.root.ver == 2


def test_lower_tiers_learn_the_new_root_with_their_next_renewal(
    tmp_path: Path, clock: MovedClock, top: TestNode, park: TestNode, keyholders: list[KeyFolder]
):
    member = a_node(tmp_path, "member", clock)
    joined(park, member, "88.107.1001")
    rotated(top, keyholders)
    park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK))
    assert park.prefixes.anchor().root.ver == 2
    member.prefixes.joining.learn(PLANT, park.prefixes.delegated(PLANT))
    assert member.prefixes.anchor().root.ver == 2
    assert member.chain("88.107.1001").anchor.root.ver == 2
    # who joins now walks both versions from the pinned fingerprint
    late = a_node(tmp_path, "late", clock)
    joined(park, late, "88.107.1002")
    assert [root.ver for root in late.prefixes.rooting.roots()] == [1, 2]


def test_a_root_of_which_the_node_keeps_no_key_still_stands_over_the_top(
    top: TestNode, park: TestNode, keyholders: list[KeyFolder]
):
    rotated(top, keyholders)
    rooting, who = top.prefixes.rooting, admin_of("88")
    proposed = rooting.propose(who, remove=[root_kid_of_node(top)])
    signed = passed_round(rooting.sign(proposed), *keyholders[:2])
    anchor = rooting.publish(who, signed)
    assert anchor.root.ver == 3
    assert not set(anchor.root.keys).intersection(top.keys.kids())
    assert read(top.homes.chain(P("88"))[0]).kid in anchor.root.keys
    top.prefixes.upkeep()
    park.prefixes.joining.learn(PARK, top.prefixes.delegated(PARK))
    assert park.chain("88.107").anchor.root.ver == 3


def root_kid_of_node(top: TestNode) -> str:
    return next(kid for kid in top.prefixes.rooting.roots()[-1].keys if kid in top.keys.kids())


def test_the_new_root_is_stored_before_anything_hangs_on_it(
    top: TestNode, park: TestNode, keyholders: list[KeyFolder], monkeypatch: pytest.MonkeyPatch
):
    rotated(top, keyholders)
    standing = top.prefixes.delegated(PARK)

    def power_cut(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(type(park.marks), "raise_to", power_cut)
    with pytest.raises(OSError, match="power cut"):
        park.prefixes.joining.learn(PARK, standing)
    assert [root.ver for root in park.prefixes.rooting.roots()] == [1, 2]


def test_fault_05_a_root_that_skips_a_version_or_lacks_a_signature_is_not_learned(
    top: TestNode, park: TestNode, keyholders: list[KeyFolder]
):
    from dataclasses import replace

    standing = top.prefixes.delegated(PARK)
    first = read_root(standing.roots[0])
    old = top.keys.load(next(iter(first.keys)))
    new = signer_of(keyholders[0])
    now = int(top.clock.now())
    content = {"algs": first.algs, "iat": now, "exp": first.exp, "keys": [new]}
    for text, why in (
        (make_root([old, new], 1, ver=3, **content), "root_version"),
        (make_root([new], 1, ver=2, **content), "root_threshold"),
    ):
        with pytest.raises(UntrustedError) as refused:
            park.prefixes.joining.learn(PARK, replace(standing, roots=(*standing.roots, text)))
        assert code(refused) == why
        assert [root.ver for root in park.prefixes.rooting.roots()] == [1]


def test_publishing_twice_is_publishing_once(top: TestNode, keyholders: list[KeyFolder]):
    rooting, who = top.prefixes.rooting, admin_of("88")
    signed = rooting.sign(rooting.propose(who, add=[public(keyholders[0])]))
    signed = passed_round(signed, keyholders[0])
    assert rooting.publish(who, signed) == rooting.publish(who, signed)
    assert len(rooting.roots()) == 2


def test_what_changed_since_the_proposal_is_proposed_again(top: TestNode, keyholders: list[KeyFolder]):
    rooting, who = top.prefixes.rooting, admin_of("88")
    late = passed_round(rooting.sign(rooting.propose(who, add=[public(keyholders[0])])), keyholders[0])
    rotated(top, keyholders)
    with pytest.raises(ConflictError) as refused:
        rooting.publish(who, late)
    assert code(refused) == "root_moved"
    rotated_away = rooting.propose(who, remove=[root_kid_of_node(top)])
    signed = passed_round(rooting.sign(rotated_away), *keyholders[:2])
    top.prefixes.rotate_key(who, P("88"))
    with pytest.raises(ConflictError) as refused:
        rooting.publish(who, signed)
    assert code(refused) == "root_moved"
    assert len(rooting.roots()) == 2


@pytest.mark.parametrize("wanted", [{"threshold": 9}, {"threshold": 0}, {"algs": ["none"]}, {"seconds": 0}])
def test_a_proposal_that_nobody_could_accept_is_refused(top: TestNode, wanted: dict):
    with pytest.raises(InvalidValueError):
        top.prefixes.rooting.propose(admin_of("88"), **wanted)


def test_who_may_propose_and_where(top: TestNode, park: TestNode):
    with pytest.raises(ForbiddenError):
        top.prefixes.rooting.propose(operator_of("88"))
    with pytest.raises(NotFoundError):
        top.prefixes.rooting.propose(admin_of("88"), remove=["unknown"])
    with pytest.raises(NotResponsibleError):
        park.prefixes.rooting.propose(admin_of("88.107"))
    unsigned = top.prefixes.rooting.propose(admin_of("88"), seconds=9 * 365 * 86_400)
    with pytest.raises(InvalidValueError) as refused:
        top.prefixes.rooting.publish(admin_of("88"), unsigned)
    assert code(refused) == "ceremony_incomplete"
