"""Who vouches for whom, from what this node stores: its homes, its delegations, the lists of its superiors."""

from collections.abc import Sequence

from federation.evidence.bundle import SignedList
from federation.exchange.storage.received import ReceivedUnit
from registry.errors import HazlinkError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.storage.engine import Database
from registry.storage.prefixes import PrefixStore
from registry.trust import statement

__all__ = ["StoredVouchers"]


class StoredVouchers:
    """Implements `federation.evidence.export.Vouchers`.

    Args:
        store: roots and lists.
        homes: chains of what is homed and delegated here.
        database: chains that came along with envelopes.
    """

    def __init__(self, *, store: PrefixStore, homes: Homes, database: Database) -> None:
        self._store = store
        self._homes = homes
        self._database = database

    def roots(self) -> Sequence[str]:
        """Return every version of the root, the first one first."""
        with self._store.read() as unit:
            return unit.roots()

    def chains(self, prefix: Prefix) -> Sequence[tuple[str, ...]]:
        """Return the chains known of exactly this prefix: homed or delegated here, above a home, or of a peer."""
        with self._database.read() as connection:
            peer = ReceivedUnit(connection).newest_chain(prefix.key)
        known = [self._homes.chain(prefix), self._homes.delegation(prefix), *self._above(prefix), peer or ()]
        return tuple(dict.fromkeys(chain for chain in known if chain and _subject(chain) == prefix))

    def revocations(self, issuer: Prefix | None) -> SignedList | None:
        """Return the newest revocation list of an issuer; None is the root."""
        name = issuer.key if issuer else statement.ROOT_NAME
        with self._store.read() as unit:
            found = unit.trust.revocation(name)
        return None if found is None else self._list(found[2], issuer)

    def history(self, subject: Prefix) -> SignedList | None:
        """Return the newest list of all keys of a prefix, by its superior."""
        with self._store.read() as unit:
            found = unit.trust.key_list(subject)
        return None if found is None else self._list(found[2], subject.parent)

    def _list(self, token: str, issuer: Prefix | None) -> SignedList | None:
        chains = self.chains(issuer) if issuer else ((),)
        return SignedList(token, chains[0]) if chains else None

    def _above(self, prefix: Prefix) -> list[tuple[str, ...]]:
        tails = []
        for home in self._homes.all():
            chain = self._homes.chain(home.prefix)
            tails += [chain[start:] for start in range(1, len(chain))]
        return [chain for chain in tails if _subject(chain) == prefix]


def _subject(chain: Sequence[str]) -> Prefix | None:
    try:
        return statement.read(chain[0]).subject
    except HazlinkError:
        return None
