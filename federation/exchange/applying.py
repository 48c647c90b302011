"""Applying what waited: envelopes that were accepted before this node understood them, in the order they came.

Their receipts were given long ago and do not change. What a handler refuses now is marked and left to an operator:
the sender has done its part.
"""

from dataclasses import dataclass

from federation.exchange import envelope as wire
from federation.exchange.chains import Chains
from federation.exchange.envelope import JSON_MEDIA, Envelope
from federation.exchange.handlers import Delivery, Handlers
from federation.exchange.relayed import RelayHandler
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.rows import Waiting
from registry.errors import HazlinkError, MalformedError, UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import strict_json
from registry.trust.encoding import from_b64u

__all__ = ["Applied", "Applier"]

_APPLIED, _REFUSED = 1, 2


@dataclass(frozen=True, slots=True)
class Applied:
    """What one round came to: how many were applied, and how many can not be."""

    applied: int = 0
    refused: int = 0

    def __add__(self, other: "Applied") -> "Applied":
        """Return both together."""
        return Applied(self.applied + other.applied, self.refused + other.refused)


class Applier:
    """Applies what waited. Run it at the start, after an upgrade, in one process.

    Consistency: each envelope in a transaction of its own. Errors: UnavailableError when the database is away.

    Args:
        database: where everything is kept.
        chains: the chains they were accepted under.
        handlers: what is understood now.
    """

    def __init__(self, *, database: Database, chains: Chains, handlers: Handlers) -> None:
        self._database = database
        self._chains = chains
        self._handlers = handlers

    def waiting(self) -> int:
        """Return how many envelopes wait, understood or not.

        Raises:
            UnavailableError: the database cannot be read.
        """
        with self._database.read() as connection:
            return ReceivedUnit(connection).count_waiting()

    def apply_waiting(self, limit: int = 500) -> Applied:
        """Apply what is understood by now, a part at a time, until nothing is left.

        Args:
            limit: envelopes looked at in one query.

        Raises:
            UnavailableError: the database is away; what was applied stays so.
        """
        pairs = self._handlers.pairs()
        total = Applied()
        if not pairs:
            return total
        after = -1
        while True:
            with self._database.read() as connection:
                rows = ReceivedUnit(connection).waiting(after, limit, pairs)
            if not rows:
                break
            for row in rows:
                total += self._one(row)
            after = rows[-1].leaf_index
        return total + self._relayed(limit, pairs)

    def _one(self, row: Waiting) -> Applied:
        try:
            delivery = self._delivery(row)
        except UnavailableError:
            raise
        except HazlinkError:
            return self._refuse(row.env)
        handler = self._handlers.find(row.type, row.schema)
        if handler is None:
            return Applied()
        try:
            handler.check(delivery.body)
            with self._database.write() as connection:
                if not ReceivedUnit(connection).mark_applied(row.env, applied=_APPLIED):
                    return Applied()
                handler.apply(connection, delivery)
        except UnavailableError:
            raise
        except HazlinkError:
            return self._refuse(row.env)
        return Applied(applied=1)

    def _refuse(self, env: bytes) -> Applied:
        with self._database.write() as connection:
            ReceivedUnit(connection).mark_applied(env, applied=_REFUSED)
        return Applied(refused=1)

    def _delivery(self, row: Waiting) -> Delivery:
        envelope = wire.read(wire.parse(row.token))
        chain = self._chains.stored(row.chain)
        if chain is None:
            raise UntrustedError("registry.trust.chain_empty", field="chain")
        return Delivery(
            envelope=envelope,
            origin=envelope.iss,
            via=(),
            chain=chain,
            received_at=row.received_at,
            body=self._body(envelope),
            receiver=envelope.aud,
        )

    def _body(self, envelope: Envelope) -> object:
        if envelope.detached is None:
            return envelope.body
        with self._database.read() as connection:
            data = ReceivedUnit(connection).body(from_b64u(envelope.detached.sha256) or b"")
        if data is None:
            raise MalformedError(
                "federation.exchange_receiving.body_missing", field="body", value=envelope.detached.sha256
            )
        return strict_json.loads(data) if envelope.detached.media == JSON_MEDIA else data

    def _relayed(self, limit: int, pairs: list[tuple[str, str]]) -> Applied:
        total = Applied()
        while True:
            with self._database.read() as connection:
                rows = ReceivedUnit(connection).relayed_waiting(limit, pairs)
            if not rows:
                return total
            for aud, env, outer in rows:
                total += self._inner(Prefix(aud), env, outer)

    def _inner(self, receiver: Prefix, env: bytes, outer: bytes) -> Applied:
        with self._database.read() as connection:
            token = ReceivedUnit(connection).token(outer)
        applied = _REFUSED
        try:
            if token is not None:
                envelope = wire.read(wire.parse(token))
                handler = self._handlers.find(envelope.type, envelope.schema)
                body = self._body(envelope)
                if isinstance(handler, RelayHandler):
                    with self._database.write() as connection:
                        if not ReceivedUnit(connection).mark_relayed(receiver.key, env):
                            return Applied()
                        if handler.apply_stored(connection, body, receiver, envelope):
                            return Applied(applied=1)
                        raise UntrustedError("federation.exchange_receiving.relay_form", field="body")
        except UnavailableError:
            raise
        except HazlinkError:
            applied = _REFUSED
        with self._database.write() as connection:
            ReceivedUnit(connection).mark_relayed(receiver.key, env, applied=applied)
        return Applied(refused=1)
