import pytest

from registry.delegation import Contact
from registry.errors import ForbiddenError, NotResponsibleError
from registry.identifier import Identifier, Prefix
from tests.support.prefixes import TestNode, a_node, ask, joined, operator_of


def test_the_longest_homed_prefix_signs(park: TestNode) -> None:
    park.prefixes.host(operator_of("88.107"), Prefix("88.107.1003"), who=Contact(name="示例小厂"))
    own, of_own = park.homes.signer_for(Prefix("88.107"))
    hosted, of_hosted = park.homes.signer_for(Prefix("88.107.1003"))
    below, of_below = park.homes.signer_for(Prefix("88.107.1003.5"))
    assert (of_own, of_hosted, of_below) == (Prefix("88.107"), Prefix("88.107.1003"), Prefix("88.107.1003"))
    assert own.kid != hosted.kid == below.kid


@pytest.mark.parametrize("foreign", ["88.10", "88.1070", "88.1071", "87.107", "89", "88"])
def test_a_prefix_that_merely_begins_alike_is_not_homed(park: TestNode, foreign: str) -> None:
    assert not park.homes.homes(Prefix(foreign))
    assert park.homes.chain(Prefix(foreign)) == ()
    with pytest.raises(NotResponsibleError):
        park.homes.signer_for(Prefix(foreign))


def test_what_was_delegated_to_another_node_is_referred_to(park: TestNode, plant: TestNode) -> None:
    joined(park, plant, "88.107.1001")
    for prefix in ("88.107.1001", "88.107.1001.7"):
        assert not park.homes.homes(Prefix(prefix))
        assert park.homes.delegation(Prefix(prefix)) == plant.homes.chain(Prefix("88.107.1001"))
        with pytest.raises(NotResponsibleError):
            park.homes.signer_for(Prefix(prefix))
    assert park.homes.delegation(Prefix("88.107")) == ()
    assert park.homes.delegation(Prefix("88.107.10010")) == ()


def test_a_pending_prefix_belongs_to_nobody_here(park: TestNode, plant: TestNode) -> None:
    ask(park, plant, "88.107.1001")
    assert not plant.homes.homes(Prefix("88.107.1001"))
    with pytest.raises(NotResponsibleError, match="waiting"):
        plant.homes.signer_for(Prefix("88.107.1001"))


def test_a_suspended_prefix_answers_and_signs_nothing(park: TestNode) -> None:
    park.prefixes.host(operator_of("88.107"), Prefix("88.107.1003"))
    park.prefixes.suspend(operator_of("88.107"), Prefix("88.107.1003"), reason="检查")
    assert park.homes.homes(Prefix("88.107.1003"))
    with pytest.raises(ForbiddenError, match="suspended"):
        park.homes.signer_for(Prefix("88.107.1003"))


def test_a_node_holds_its_own_copy_of_its_prefix_record(top: TestNode, park: TestNode) -> None:
    handle = Identifier.parse("0.NA/88.107")
    assert park.homes.holds(handle)
    assert top.homes.holds(handle)
    assert park.homes.chain_for(handle) == top.homes.chain_for(handle) == top.homes.chain(Prefix("88"))
    assert not park.homes.holds(Identifier.parse("0.NA/88"))
    assert not park.homes.holds(Identifier.parse("0.NA/88.108"))
    assert top.homes.chain_for(Identifier.parse("0.NA/88")) == top.homes.chain(Prefix("88"))
    assert park.homes.chain_for(Identifier.parse("0.NA/88.107.1001")) == park.homes.chain(Prefix("88.107"))


def test_a_change_by_another_process_is_seen_at_the_next_refresh(park: TestNode) -> None:
    other = park.reopened()
    other.homes.refresh()
    assert not other.homes.refresh()
    park.prefixes.host(operator_of("88.107"), Prefix("88.107.1003"))
    assert other.homes.home(Prefix("88.107.1003")) is None
    assert other.homes.refresh()
    signer, issuer = other.homes.signer_for(Prefix("88.107.1003"))
    assert issuer == Prefix("88.107.1003")
    assert signer.kid == park.homes.signer_for(Prefix("88.107.1003"))[0].kid


def test_tiers_go_as_deep_as_the_delegation_allows(
    tmp_path_factory: pytest.TempPathFactory, top: TestNode
) -> None:
    above, prefix = top, "88"
    for depth in range(5):
        node = a_node(tmp_path_factory.mktemp("deep"), f"tier{depth}", top.clock)
        prefix += f".{depth}"
        joined(above, node, prefix)
        assert len(node.chain(prefix).statements) == depth + 2
        above = node
    assert above.chain(prefix).leaf.max_path == 1
