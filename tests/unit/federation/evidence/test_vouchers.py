"""Who vouches for whom, from what a node stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from federation.evidence.bundle import SignedList
from federation.evidence.vouchers import StoredVouchers
from federation.exchange.storage.received import ReceivedUnit
from registry.identifier import Prefix
from registry.storage.engine import Database
from tests.support.trust import a_chain

TREE = a_chain("88", "88.107", "88.107.1001")
PARK, WORKS, OTHER = Prefix("88.107"), Prefix("88.107.1001"), Prefix("88.107.1002")


@dataclass
class _Store:
    """Roots and lists, as `PrefixStore` gives them."""

    lists: dict[str, str] = field(default_factory=dict)
    histories: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def read(self) -> Iterator[Any]:
        trust = SimpleNamespace(
            revocation=lambda issuer: (1, "", self.lists[issuer]) if issuer in self.lists else None,
            key_list=lambda subject: (
                (1, "", self.histories[subject.key]) if subject.key in self.histories else None
            ),
        )
        yield SimpleNamespace(roots=lambda: [TREE.root.text], trust=trust)


class _Homes:
    """A node that homes the park and delegated the works."""

    def all(self) -> tuple[Any, ...]:
        return (SimpleNamespace(prefix=PARK),)

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        return TREE.tokens_of(PARK.key) if PARK.contains(prefix) else ()

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        return TREE.tokens if prefix == WORKS else ()


@pytest.fixture
def vouchers(sqlite_database: Database) -> Any:
    store = _Store()
    return store, StoredVouchers(
        store=store,
        homes=_Homes(),
        database=sqlite_database,
    )


def test_the_chain_of_a_home_a_delegation_and_a_superior_are_found(vouchers: Any) -> None:
    _, known = vouchers

    assert known.roots() == [TREE.root.text]
    assert known.chains(PARK) == (TREE.tokens_of(PARK.key),)
    assert known.chains(WORKS) == (TREE.tokens,)
    assert known.chains(Prefix("88")) == (TREE.tokens_of("88"),)
    assert known.chains(OTHER) == ()


def test_the_chain_a_peer_brought_is_found(vouchers: Any, sqlite_database: Database) -> None:
    _, known = vouchers
    peer = a_chain("88", "88.107", "88.107.1002")
    with sqlite_database.write() as connection:
        ReceivedUnit(connection).put_chain(bytes(32), OTHER.key, peer.tokens, ver=1, at=5)

    assert known.chains(OTHER) == (peer.tokens,)


def test_lists_come_with_the_chain_of_their_issuer(vouchers: Any) -> None:
    store, known = vouchers
    assert known.revocations(PARK) is None
    assert known.history(WORKS) is None

    store.lists = {"88.107": "park's", "0.NA": "root's", "7": "a stranger's"}
    store.histories = {"88.107.1001": "works'", "88": "top's"}

    assert known.revocations(PARK) == SignedList("park's", TREE.tokens_of(PARK.key))
    assert known.revocations(None) == SignedList("root's", ())
    assert known.revocations(Prefix("7")) is None
    assert known.history(WORKS) == SignedList("works'", TREE.tokens_of(PARK.key))
    assert known.history(Prefix("88")) == SignedList("top's", ())
