"""The top prefix, hosted prefixes, and what is made up for after a crash."""

from pathlib import Path

import pytest

from registry.delegation import Contact, HomeState, Origin
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    MalformedIdentifierError,
    NotResponsibleError,
    NotSupportedError,
    UnavailableError,
)
from registry.identifier import Prefix
from registry.principal import Operation
from tests.support.prefixes import DAY, MovedClock, TestNode, a_node, admin_of, ask, joined, operator_of

P = Prefix.parse
SMALL = P("88.107.1003")


def test_the_root_is_made_once(top: TestNode) -> None:
    before = top.prefixes.anchor()
    assert before is not None
    home = top.prefixes.init_root(P("88"), endpoints={"resolve": []}, who="installer")
    assert home.origin is Origin.TOP
    assert top.prefixes.anchor() == before
    assert len(top.keys.kids()) == 2
    with pytest.raises(ExistsError):
        top.prefixes.init_root(P("89"), endpoints={"resolve": []}, who="installer")


@pytest.mark.parametrize("prefix", ["88.107", "0"])
def test_a_top_prefix_is_one_label(tmp_path: Path, clock: MovedClock, prefix: str) -> None:
    node = a_node(tmp_path, "top", clock)
    with pytest.raises(MalformedIdentifierError):
        node.prefixes.init_root(P(prefix), endpoints={"resolve": []}, who="installer")


def test_the_top_publishes_its_own_record(top: TestNode) -> None:
    assert top.verified("0.NA/88", top.chain("88")).subject == "0.NA/88"


def test_a_hosted_prefix_has_its_own_key_and_chain(park: TestNode) -> None:
    park.prefixes.host(operator_of("88.107"), SMALL, who=Contact(name="示例小厂", contact="1"))
    chain = park.chain("88.107.1003")
    assert [str(statement.subject) for statement in chain.statements] == ["88.107.1003", "88.107", "88"]
    assert chain.leaf.endpoints == park.chain("88.107").leaf.endpoints
    park.register("88.107.1003/BATCH-1", private="配方")
    assert park.verified("88.107.1003/BATCH-1", chain).issuer == SMALL
    assert [made.name for made in park.prefixes.delegations(operator_of("88.107"), P("88.107"))] == [
        "示例小厂"
    ]


def test_the_hosts_operator_may_not_act_for_the_hosted(park: TestNode, tmp_path: Path) -> None:
    park.prefixes.host(operator_of("88.107"), SMALL)
    operator = operator_of("88.107")
    assert not operator.may(Operation.RECORD_WRITE, SMALL)
    with pytest.raises(ForbiddenError):
        park.prefixes.rotate_key(operator, SMALL)
    with pytest.raises(ForbiddenError):
        park.prefixes.close(operator, SMALL)
    with pytest.raises(ForbiddenError):
        park.prefixes.export_handover(operator, SMALL, tmp_path / "bundle")


def test_only_free_prefixes_below_a_homed_one_are_hosted(park: TestNode, plant: TestNode) -> None:
    operator = operator_of("88.107")
    park.prefixes.host(operator, SMALL)
    with pytest.raises(ExistsError):
        park.prefixes.host(operator, SMALL)
    ask(park, plant, "88.107.1001")
    with pytest.raises(ExistsError):
        park.prefixes.host(operator, P("88.107.1001"))
    with pytest.raises(ForbiddenError):
        park.prefixes.host(operator, P("88.108"))
    with pytest.raises(NotResponsibleError):
        park.prefixes.host(operator_of("88.108"), P("88.108.1"))
    with pytest.raises(MalformedIdentifierError):
        park.prefixes.host(operator, P("89"))


def test_a_hosted_prefix_rotates_here(park: TestNode, clock: MovedClock) -> None:
    park.prefixes.host(operator_of("88.107"), SMALL)
    park.register("88.107.1003/OLD")
    old = park.homes.signer_for(SMALL)[0]
    clock.time += DAY
    park.prefixes.rotate_key(admin_of("88.107.1003"), SMALL)
    park.register("88.107.1003/NEW")
    assert park.homes.signer_for(SMALL)[0].kid != old.kid
    for name in ("OLD", "NEW"):
        park.verified(f"88.107.1003/{name}", park.chain("88.107.1003"))


def test_the_top_rotates_under_its_root(top: TestNode, park: TestNode) -> None:
    top.prefixes.rotate_key(admin_of("88"), P("88"))
    assert top.chain("88").leaf.ver == 2
    assert (
        park.prefixes.joining.learn(P("88.107"), top.prefixes.delegated(P("88.107"))).chain[1]
        == (top.homes.chain(P("88"))[0])
    )


def test_a_joined_prefix_must_ask_its_superior(park: TestNode) -> None:
    with pytest.raises(NotSupportedError):
        park.prefixes.rotate_key(admin_of("88.107"), P("88.107"))
    with pytest.raises(NotSupportedError):
        park.prefixes.change_endpoints(admin_of("88.107"), P("88.107"), {"resolve": []})


def test_hosted_prefixes_follow_their_hosts_endpoints(top: TestNode) -> None:
    top.prefixes.host(operator_of("88"), P("88.5"))
    top.prefixes.change_endpoints(admin_of("88"), P("88"), {"resolve": ["https://moved.example"]})
    assert top.chain("88.5").leaf.endpoints.resolve == ("https://moved.example",)
    assert top.chain("88").leaf.endpoints.resolve == ("https://moved.example",)
    assert top.prefixes.upkeep() == 0
    with pytest.raises(NotSupportedError):
        top.prefixes.change_endpoints(admin_of("88.5"), P("88.5"), {"resolve": ["https://own.example"]})


def test_upkeep_renews_what_is_delegated_here(top: TestNode, clock: MovedClock) -> None:
    top.prefixes.host(operator_of("88"), P("88.5"))
    clock.time += 61 * DAY
    assert top.prefixes.upkeep() == 1
    assert top.chain("88.5").leaf.exp == clock.now() + 90 * DAY
    clock.time += 500 * DAY
    assert top.prefixes.upkeep() == 2
    assert top.chain("88").leaf.exp == clock.now() + 730 * DAY


def test_a_suspended_hosted_prefix_is_not_renewed_nor_rotated(top: TestNode, clock: MovedClock) -> None:
    top.prefixes.host(operator_of("88"), P("88.5"))
    top.prefixes.suspend(operator_of("88"), P("88.5"), reason="检查")
    clock.time += 61 * DAY
    assert top.prefixes.upkeep() == 0
    with pytest.raises(ConflictError):
        top.prefixes.rotate_key(admin_of("88.5"), P("88.5"))
    top.prefixes.resume(operator_of("88"), P("88.5"))
    home = top.homes.home(P("88.5"))
    assert home is not None
    assert home.state is HomeState.ACTIVE


class _Killed(BaseException):
    """The process ends here."""


def _die(*_args: object, **_kwargs: object) -> None:
    raise _Killed


@pytest.mark.parametrize("step", ["register", "mark"])
def test_a_crash_before_publication_is_made_up_for(
    park: TestNode, plant: TestNode, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed after the statement was committed: before its record was written, or before that was noted."""
    ask(park, plant, "88.107.1001")
    publisher = park.prefixes._office.publisher
    if step == "register":
        monkeypatch.setattr(publisher._records, "register", _die)
    else:
        monkeypatch.setattr("registry.storage.prefixes.PrefixUnit.mark_published", _die)
    with pytest.raises(_Killed):
        park.prefixes.approve(operator_of("88.107"), P("88.107.1001"))
    monkeypatch.undo()
    again = park.reopened()
    again.prefixes.upkeep()
    token = again.homes.delegation(P("88.107.1001"))[0]
    record = again.record("0.NA/88.107.1001")
    assert record is not None
    assert record.version == 1
    assert record.values[-1].text == token
    again.verified("0.NA/88.107.1001", again.chain("88.107"))
    with again.store.read() as unit:
        assert unit.unpublished() == []


def test_one_record_that_cannot_be_published_does_not_hold_up_the_others(
    park: TestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = park.prefixes._office.records
    publish = records.register
    tried = []

    def fail_first(principal: object, draft: object, **more: object) -> object:
        tried.append(draft)
        if len(tried) == 1:
            raise UnavailableError("registry.storage.unavailable", reason="disk full")
        return publish(principal, draft, **more)

    monkeypatch.setattr(records, "register", fail_first)
    with pytest.raises(UnavailableError):
        park.prefixes.host(operator_of("88.107"), P("88.107.1"))
    park.prefixes.host(operator_of("88.107"), P("88.107.2"))
    assert park.record("0.NA/88.107.1") is not None
    assert park.record("0.NA/88.107.2") is not None


@pytest.mark.parametrize("lost", ["store", "copy"])
def test_a_crash_while_learning_is_made_up_for_by_asking_again(
    park: TestNode, plant: TestNode, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    ask(park, plant, "88.107.1001")
    park.prefixes.approve(operator_of("88.107"), P("88.107.1001"))
    if lost == "copy":
        monkeypatch.setattr(plant.prefixes._office.records, "put_copy", _die)
    else:
        monkeypatch.setattr("registry.storage.prefixes.PrefixUnit.put_home", _die)
    with pytest.raises(_Killed):
        plant.prefixes.joining.learn(P("88.107.1001"), park.prefixes.delegated(P("88.107.1001")))
    monkeypatch.undo()
    again = plant.reopened()
    again.homes.refresh()
    assert [home.state for home in again.prefixes.joining.due()] == [HomeState.PENDING]
    home = again.prefixes.joining.learn(P("88.107.1001"), park.prefixes.delegated(P("88.107.1001")))
    assert home.state is HomeState.ACTIVE
    assert again.record("0.NA/88.107.1001") == park.record("0.NA/88.107.1001")


def test_a_restart_finds_everything(park: TestNode, plant: TestNode) -> None:
    joined(park, plant, "88.107.1001")
    park.prefixes.host(operator_of("88.107"), SMALL)
    again = park.reopened()
    assert again.prefixes.upkeep() == 0
    assert again.homes.all() == park.homes.all()
    for node in (again, park):
        assert [made.token for made in node.homes.delegations()] == [
            node.homes.delegation(P("88.107.1001"))[0],
            node.homes.chain(SMALL)[0],
        ]
    again.register("88.107.1003/X")
    again.verified("88.107.1003/X", again.chain("88.107.1003"))
