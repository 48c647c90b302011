"""Prefixes over both databases: round trips, and writers that come at the same moment."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.delegation import (
    Contact,
    Delegation,
    DelegationState,
    Home,
    HomeState,
    Invitation,
    JoinRequest,
    Origin,
    Purpose,
    RequestState,
    Superior,
)
from registry.errors import HazlinkError, UntrustedError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.prefixes.service import Prefixes
from registry.storage.engine import Database
from registry.storage.prefixes import PrefixStore, PrefixUnit, StoredMarks
from registry.trust.keys import KeyFolder
from registry.trust.statement import read
from tests.support.prefixes import MovedClock, a_registry, admin_of, operator_of

P = Prefix.parse
HOMES = [
    Home(P("88"), Origin.TOP, HomeState.ACTIVE, "kid"),
    Home(
        P("88.107"),
        Origin.JOINED,
        HomeState.CLOSING,
        "kid",
        next_kid="next",
        chain=("a", "b"),
        superior=Superior(("https://top.example",), "anchor", P("88"), "pin", "ticket", Purpose.REKEY),
        reason="理由",
        resign=True,
    ),
]
DELEGATION = Delegation(
    P("88.107"), P("88"), DelegationState.SUSPENDED, 3, "token", 1_900_000_000, published=False, name="名"
)
INVITATION = Invitation("d" * 64, P("88"), P("88.107"), Purpose.HANDOVER, 20, 10, "operator")
REQUEST = JoinRequest(
    ticket="t",
    prefix=P("88.107"),
    parent=P("88"),
    purpose=Purpose.JOIN,
    kid="kid",
    jwk={"kty": "OKP"},
    endpoints={"resolve": ["https://a.example"]},
    who=Contact("名", "电话", "备注"),
    state=RequestState.PENDING,
    requested_at=1,
)


@pytest.fixture
def store(database: Database) -> PrefixStore:
    return PrefixStore(database)


def at_once(count: int, call: Callable[[int], object]) -> list[object]:
    """Call `count` times at the same moment; what was raised stands in place of the result."""

    def one(number: int) -> object:
        try:
            return call(number)
        except HazlinkError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_everything_comes_back_as_it_was_stored(store: PrefixStore) -> None:
    with store.write() as unit:
        for home in HOMES:
            unit.put_home(home)
        unit.put_delegation(DELEGATION)
        unit.add_invitation(INVITATION)
        unit.put_request(REQUEST)
        unit.add_root(1, "root")
        unit.add_audit(P("88.107"), at=5, who="谁", action="hosted", detail={"a": [1]})
        unit.add_inherited(P("88.107"), 0, [("88.107/A", "{}"), ("88.107/B", "[]")])
    with store.read() as unit:
        assert unit.homes() == HOMES
        assert unit.delegations() == unit.unpublished() == [DELEGATION]
        assert unit.delegations(P("88.107")) == []
        assert unit.invitation("d" * 64) == INVITATION
        assert unit.request("t") == unit.pending_request(P("88.107")) == REQUEST
        assert unit.count_pending(P("88")) == 1
        assert unit.roots() == ["root"]
        (line,) = unit.audit(P("88.107"))
        assert (line.at, line.who, line.action, line.detail) == (5, "谁", "hosted", {"a": [1]})
        assert unit.inherited(P("88.107"), "88.107/B") == ["[]"]


def test_publishing_an_old_version_does_not_hide_a_newer_one(store: PrefixStore) -> None:
    with store.write() as unit:
        unit.put_delegation(DELEGATION)
        unit.mark_published(P("88.107"), 2)
        assert unit.unpublished() == [DELEGATION]
        unit.mark_published(P("88.107"), 3)
        assert unit.unpublished() == []


def test_each_change_of_the_picture_raises_the_revision(store: PrefixStore) -> None:
    seen = []
    changes: list[Callable[[PrefixUnit], None]] = [
        lambda unit: unit.put_home(HOMES[0]),
        lambda unit: unit.put_delegation(DELEGATION),
        lambda unit: unit.add_root(1, "root"),
    ]
    for change in changes:
        with store.write() as unit:
            change(unit)
        with store.read() as unit:
            seen.append(unit.revision())
    assert seen == [1, 2, 3]


def test_a_nonce_and_an_invitation_serve_one_of_many(store: PrefixStore) -> None:
    with store.write() as unit:
        unit.add_invitation(INVITATION)

    def use(number: int) -> object:
        with store.write() as unit:
            return unit.use_nonce("n", 100, 1), unit.use_invitation("d" * 64, str(number), 1)

    results = at_once(6, use)
    assert sorted(results, key=str) == [(False, False)] * 5 + [(True, True)]


def test_a_mark_never_falls(database: Database) -> None:
    marks = StoredMarks(database)
    marks.raise_to("88", "88.107", 2, "b")
    marks.raise_to("88", "88.107", 2, "b")
    for issuer, version, content in (("88", 1, "a"), ("88", 2, "x"), ("86", 3, "c")):
        with pytest.raises(UntrustedError):
            marks.raise_to(issuer, "88.107", version, content)
    StoredMarks(database).raise_to("88", "88.107", 3, "c")
    with pytest.raises(UntrustedError):
        marks.raise_to("88", "88.107", 2, "b")
    marks.reset("88")
    marks.raise_to("88", "88.107", 1, "a")


def test_of_two_statements_of_one_version_one_is_refused(database: Database) -> None:
    marks = StoredMarks(database)
    results = at_once(6, lambda number: marks.raise_to("88", "88.107", 1, str(number)))
    assert [type(result) for result in results].count(UntrustedError) == 5


def test_two_instances_never_sign_two_statements_of_one_version(database: Database, tmp_path: Path) -> None:
    clock = MovedClock()
    nodes = []
    for _ in range(2):
        store = PrefixStore(database)
        homes = Homes(store=store, keys=KeyFolder(tmp_path / "keys"))
        nodes.append(
            Prefixes(
                store=store,
                homes=homes,
                keys=KeyFolder(tmp_path / "keys"),
                records=a_registry(database, homes, clock),
                marks=StoredMarks(database),
                clock=clock,
                entropy=os.urandom,
                secret=b"s" * 32,
            )
        )
    nodes[0].init_root(P("88"), endpoints={"resolve": []}, who="installer")
    nodes[0].host(operator_of("88"), P("88.5"))
    nodes[1].homes.refresh()

    def move(number: int) -> object:
        form = {"resolve": [f"https://{number}.example"]}
        return nodes[number % 2].change_endpoints(admin_of("88"), P("88"), form).version

    results = at_once(4, move)
    assert len(set(map(str, results))) == 4, results
    for node in nodes:
        node.upkeep()
        assert read(node.homes.chain(P("88"))[0]).ver == 5
