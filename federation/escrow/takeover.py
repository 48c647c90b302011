"""Taking over: a superior loads a deposit and answers for a prefix whose own node is gone; and handing back.

Rules:

- an operator of the superior decides, and says why; nothing is taken over by itself;
- the newest FULL is loaded and every DIFF that stands on it. Each record is verified under the delegation as it
  stands here: what does not hold is not served, and counted. The records keep the signature of their owner, so who
  resolves them verifies them as ever; nothing is signed in the owner's name;
- from then on this node answers with authority for the prefix, and refers to what the prefix had delegated further.
  The take-over is marked: it stands in a table with who, when, why and which deposit, and shows in lists and health;
- handing back ends it: the node refers to the prefix's own node again. Loaded records stay, unserved, so that a
  second take-over only adds what is newer.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from federation.escrow.answering import Delegated
from federation.escrow.keys import EscrowKeys
from federation.escrow.loading import Loaded, Loader, Records, line_of
from federation.escrow.storage import EscrowUnit
from registry.clock import Clock
from registry.errors import ConflictError, MalformedError, NotFoundError, NotResponsibleError
from registry.identifier import Prefix
from registry.principal import Operation, Principal
from registry.record import Record, Status
from registry.storage.engine import Database
from registry.trust.chain import VerifiedChain, verify_chain
from registry.trust.root import Anchor
from registry.value import CERT_INDEX

__all__ = ["Anchored", "Takeovers"]

_MAX_REASON = 500
#: No day: a deposit that stands at it is as good as one of another day.
_NEVER = -1


class Anchored(Protocol):
    """Knows the trust anchor; `registry.prefixes.service.Prefixes` is one. Raises UntrustedError when it expired."""

    def anchor(self) -> Anchor | None:
        """Return the anchor, if there is one yet."""
        ...


class Takeovers:
    """Begins and ends take-overs.

    Consistency: `active` is as of the last `refresh`, which every change through this process makes; the others' are
    seen at the next one. Durability: as `Database`. Concurrency: any number of threads and processes; two that begin
    at once load the same records. Errors: as said at each method.
    """

    def __init__(
        self,
        *,
        database: Database,
        homes: Delegated,
        anchored: Anchored,
        records: Records,
        keys: EscrowKeys,
        clock: Clock,
    ) -> None:
        self._database = database
        self._homes = homes
        self._anchored = anchored
        self._clock = clock
        self._loader = Loader(database=database, records=records, keys=keys, clock=clock)
        self._active: Mapping[str, Mapping[str, str]] = {}
        self._refreshing = threading.Lock()

    @property
    def active(self) -> Mapping[str, Mapping[str, str]]:
        """The prefixes taken over now: folded key → what each had delegated: folded key → statement."""
        return self._active

    def refresh(self) -> None:
        """Read which prefixes are taken over.

        Raises:
            UnavailableError: the database cannot be read; the old picture stays.
        """
        with self._refreshing, self._database.read() as connection:
            unit = EscrowUnit(connection)
            found: dict[str, Mapping[str, str]] = {}
            for row in unit.takeovers(open_only=True):
                owner = Prefix(row["owner"])
                found[owner.key] = dict(_delegated(unit.delegations_below(owner)))
            self._active = found

    def serving(self) -> list[Mapping[str, Any]]:
        """Return the take-overs that are open: whose records are answered for from which deposit of when.

        Raises:
            UnavailableError: the database cannot be read.
        """
        with self._database.read() as connection:
            return EscrowUnit(connection).takeovers(open_only=True)

    def held(self, principal: Principal, receiver: Prefix) -> list[Mapping[str, Any]]:
        """Return the deposits held at a prefix, by owner, newest first.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal is no operator of the prefix.
        """
        principal.require(Operation.PREFIX_DELEGATE, receiver)
        with self._database.read() as connection:
            return EscrowUnit(connection).held(receiver.key)

    def made(self, principal: Principal, owner: Prefix, limit: int = 100) -> list[Mapping[str, Any]]:
        """Return the deposits a prefix made, newest first.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not read the trail of the prefix.
        """
        principal.require(Operation.AUDIT_READ, owner)
        with self._database.read() as connection:
            return EscrowUnit(connection).deposits_made(owner, min(limit, 1000))

    def order(self, principal: Principal, owner: Prefix) -> None:
        """Let the next deposit of a prefix homed here begin at once, not with the next day.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal does not administer the prefix.
            NotFoundError: the prefix has made no deposit yet: its superior has announced no escrow key.
        """
        principal.require(Operation.ACCOUNT_MANAGE, owner)
        with self._database.write() as connection:
            unit = EscrowUnit(connection)
            last = unit.last_made(owner.key)
            if last is None:
                raise NotFoundError("federation.escrow.none_made", field="owner", owner=owner.key)
            unit.move(owner.key, last["rev"], slot=_NEVER)

    def trail(self, principal: Principal, receiver: Prefix) -> list[Mapping[str, Any]]:
        """Return take-overs below a prefix, present and past.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not read the trail of the prefix.
        """
        principal.require(Operation.AUDIT_READ, receiver)
        with self._database.read() as connection:
            return [row for row in EscrowUnit(connection).takeovers() if row["receiver"] == receiver.key]

    def check(self, principal: Principal, owner: Prefix) -> Loaded:
        """Open and verify the deposit of a prefix and store nothing: the drill.

        Raises:
            As `begin`.
        """
        _, line, chain = self._ready(principal, owner)
        return self._loader.load(owner, line, chain, store=False)

    def begin(self, principal: Principal, owner: Prefix, *, reason: str) -> Loaded:
        """Load the deposit of a prefix and answer for it from now on.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal is no operator of the superior.
            MalformedError: no reason, or too long a one.
            NotResponsibleError: the prefix is not delegated here.
            ConflictError: it is taken over already.
            NotFoundError: there is no deposit.
            UntrustedError: the deposit or the delegation does not hold.
            UnavailableError: the escrow key is not there or cannot be unlocked.
        """
        if not 0 < len(reason.strip()) <= _MAX_REASON or not reason.strip().isprintable():
            raise MalformedError("federation.escrow.reason", field="reason", limit=_MAX_REASON)
        receiver, line, chain = self._ready(principal, owner)
        with self._database.read() as connection:
            if any(row["owner"] == owner.key for row in EscrowUnit(connection).takeovers(open_only=True)):
                raise ConflictError("federation.escrow.taken", field="prefix", prefix=owner.key)
        loaded = self._loader.load(owner, line, chain, store=True)
        with self._database.write() as connection:
            EscrowUnit(connection).begin_takeover(
                {
                    "owner": owner.key,
                    "receiver": receiver.key,
                    "rev": loaded.rev,
                    "deposit_at": line[-1]["at"],
                    "chain": chain.sha256,
                    "records": loaded.records,
                    "refused": loaded.refused,
                    "reason": reason.strip(),
                    "began_at": int(self._clock.now()),
                    "began_by": principal.name,
                }
            )
        self.refresh()
        return loaded

    def end(self, principal: Principal, owner: Prefix) -> None:
        """Hand a prefix back: refer to its own node again.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal is no operator of the superior.
            NotFoundError: it is not taken over.
        """
        principal.require(Operation.PREFIX_DELEGATE, _parent(owner))
        with self._database.write() as connection:
            done = EscrowUnit(connection).end_takeover(
                owner.key, at=int(self._clock.now()), by=principal.name
            )
        if not done:
            raise NotFoundError("federation.escrow.not_taken", field="prefix", prefix=owner.key)
        self.refresh()

    def _ready(
        self, principal: Principal, owner: Prefix
    ) -> tuple[Prefix, list[Mapping[str, Any]], VerifiedChain]:
        """Return the superior, the deposits to load in order, and the chain that vouches for the owner."""
        receiver = _parent(owner)
        principal.require(Operation.PREFIX_DELEGATE, receiver)
        tokens, anchor = self._homes.delegation(owner), self._anchored.anchor()
        if not tokens or anchor is None or self._homes.home_of(owner) is not None:
            raise NotResponsibleError("federation.escrow.not_delegated", field="prefix", prefix=owner.key)
        chain = verify_chain(tokens, anchor=anchor, now=self._clock.now())
        if chain.subject != owner:
            raise NotResponsibleError("federation.escrow.not_delegated", field="prefix", prefix=owner.key)
        with self._database.read() as connection:
            held = EscrowUnit(connection).held(receiver.key, owner.key)
        line = line_of(held)
        if not line:
            raise NotFoundError("federation.escrow.no_deposit", field="prefix", prefix=owner.key)
        return receiver, line, chain


def _parent(owner: Prefix) -> Prefix:
    if owner.parent is None:
        raise NotResponsibleError("federation.escrow.not_delegated", field="prefix", prefix=owner.key)
    return owner.parent


def _delegated(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Yield what a prefix had delegated: folded key and statement."""
    for record in records:
        named, value = record.identifier.named_prefix, record.value(CERT_INDEX)
        if record.status is Status.ACTIVE and named is not None and value is not None and value.text:
            yield named.key, value.text
