"""The receiver: takes a batch of tokens of one peer, and answers each with one line.

Rules (facts on federation, (b) "Receiver order"):

- the order of the checks is `checks.Inspection`'s; what needs no lock runs before the transaction;
- one transaction for a batch: the fence, the lanes' rows, effects, log leaves, receipts, inbox rows, commit. A line
  that stands for something durable leaves this module after that commit, never before. Where only one can write at a
  time, as on SQLite, a batch is taken in by parts, each in a transaction short enough for an alarm to come between;
- effects run without a savepoint of their own; only when one refuses is the whole transaction run again with one
  around each: refusals are rare, and savepoints are not free;
- what is known already is answered with the stored bytes, and needs no writing at all;
- after a restore a leaf that came back from a witness decides the receipt, so that it says what it said before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from federation.exchange.chains import Chains
from federation.exchange.checks import Inspection, Judge
from federation.exchange.decisions import Known, Refuse
from federation.exchange.finals import Context, EffectRefusedError
from federation.exchange.handlers import Handlers
from federation.exchange.receipt import Line
from federation.exchange.relay import Relaying
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.streams import MAX_BATCH, is_stream
from federation.exchange.taking import Taking
from registry.clock import Clock
from registry.errors import (
    InternalError,
    InvalidValueError,
    LimitError,
    NotResponsibleError,
    RateLimitError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.chain import VerifiedChain
from registry.trust.encoding import from_b64u
from registry.trust.keys import Signer

__all__ = ["Homed", "Receiver"]

#: Bytes of detached bodies held in memory for one batch.
_MAX_BODIES_BYTES = 32 * 1024 * 1024
_RETRY_SECONDS = 1.0
#: Envelopes in one transaction, where nobody else can write meanwhile.
_AT_ONCE = 64


class Homed(Protocol):
    """The prefixes of this node; `registry.prefixes.homes.Homes` is one.

    Consistency: as of the last refresh. Concurrency: any number of threads. Errors: as said at each method.
    """

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here."""
        ...

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """Return the key that signs for a homed prefix, and that prefix.

        Raises:
            NotResponsibleError: it is not homed here.
            ForbiddenError: it is suspended, revoked or closing.
            UnavailableError: the key cannot be loaded.
        """
        ...


@dataclass(slots=True)
class _Item:
    """One token of the batch, and its line once there is one."""

    inspection: Inspection
    env: bytes = b""
    line: Line | None = None
    stale: bool = False
    data: bytes | None = None


class Receiver:
    """Receives envelopes for the prefixes homed here.

    Consistency: envelopes of a lane are taken in one after another, whoever brings them to whichever process.
    Durability: a final receipt stands for a committed transaction. Concurrency: any number of threads and processes.
    Errors: as `receive` says; one token never fails another.
    """

    def __init__(
        self,
        *,
        database: Database,
        homes: Homed,
        chains: Chains,
        handlers: Handlers,
        clock: Clock,
        credit: int = MAX_BATCH,
        judge: Judge | None = None,
        relaying: Relaying | None = None,
        may_sign: Callable[[Any], None] | None = None,
        log_number: int | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: where everything is kept.
            homes: the prefixes of this node, and their keys.
            chains: the chains of those who send.
            handlers: what is done with each type.
            clock: the time.
            credit: envelopes taken in one batch; stands on every receipt.
            judge: what is known against keys: revocations and last numbers.
            relaying: passes envelopes on upward; None passes nothing on.
            may_sign: called with the open transaction before anything is signed in it; raises UnavailableError when
                this node must not sign now (another copy holds the fence, or a restore is not healed yet).
            log_number: which log; None: the newest.
        """
        self._database = database
        self._homes = homes
        self._chains = chains
        self._handlers = handlers
        self._clock = clock
        self._credit = credit
        self._at_once = _AT_ONCE if database.is_sqlite else MAX_BATCH
        self._judge = judge
        self._may_sign = may_sign
        self._context = Context(
            homes=homes, handlers=handlers, relaying=relaying, credit=credit, log_number=log_number
        )

    @property
    def credit(self) -> int:
        """Envelopes taken in one batch."""
        return self._credit

    def receive(
        self,
        peer: Prefix,
        stream: str,
        tokens: Sequence[bytes],
        *,
        receiver: Prefix | None = None,
        at: tuple[int, int] | None = None,
    ) -> list[Line]:
        """Take envelopes in.

        Args:
            peer: the prefix the session proved, or that is homed in this very process.
            stream: of the address.
            tokens: as received, in order.
            receiver: the prefix here that the session is held with; found by itself when the peer lies below one.
            at: (epoch, seq) of the address, for a token alone.

        Returns:
            One line for each token, in order.

        Raises:
            InvalidValueError: there is no such stream.
            LimitError: more tokens than any batch may have.
            NotResponsibleError: nobody here receives from this peer.
            UntrustedError: this node trusts no root yet.
            UnavailableError: nothing was stored; try again. ForbiddenError: the receiver must not sign now.
        """
        if not is_stream(stream):
            raise InvalidValueError("federation.exchange_receiving.stream", field="stream", value=stream[:32])
        if len(tokens) > MAX_BATCH:
            raise LimitError("federation.exchange_receiving.batch", count=len(tokens), limit=MAX_BATCH)
        mine = receiver or self._receiver_of(peer)
        items = [
            _Item(
                Inspection(
                    token, peer=peer, stream=stream, receiver=mine, mine=self._homes.answers_for, at=at
                )
            )
            for token in tokens
        ]
        self._unseal(items)
        self._recall(items)
        self._authenticate(peer, items)
        self._content(items)
        self._take(mine, items)
        return [_line(item) for item in items]

    # before the transaction

    def _unseal(self, items: Sequence[_Item]) -> None:
        """Steps 1 and 2, and the credit of the peer."""
        for number, item in enumerate(items):
            if number >= self._credit:
                error = RateLimitError("federation.exchange_receiving.credit", limit=self._credit)
                item.line = Refuse(429, "credit", error, _RETRY_SECONDS).line()
                continue
            refused = item.inspection.unseal()
            if refused is not None:
                item.line = refused.line()
            else:
                item.env = _raw(item.inspection.env)

    def _recall(self, items: Sequence[_Item]) -> None:
        """Step 3."""
        waiting = [item for item in items if item.line is None]
        if not waiting:
            return
        with self._database.read() as connection:
            found = ReceivedUnit(connection).known([item.env for item in waiting])
        for item in waiting:
            stored = found.get(item.env)
            if stored is None:
                continue
            known = Known(Prefix(stored.iss), item.inspection.env, stored.receipt, stored.code)
            again = item.inspection.recall(known)
            if again is not None:
                item.line = again.line()

    def _authenticate(self, peer: Prefix, items: Sequence[_Item]) -> None:
        """Steps 4 to 6."""
        now = self._clock.now()
        kept: set[str] = set()
        newest: VerifiedChain | None = None
        for item in items:
            if item.line is not None:
                continue
            inspection = item.inspection
            try:
                chain = newest = self._chain_of(peer, inspection, newest)
            except UntrustedError as error:
                newest = None
                item.line = Refuse(401, "chain", error).line()
                continue
            refused = inspection.authenticate(chain, now=now, judge=self._judge)
            if isinstance(refused, Refuse):
                item.line = refused.line()
                continue
            named = inspection.envelope.chain_sha256 if inspection.envelope else None
            item.stale = named is not None and not self._chains.knows(named, peer)
            if chain is not None and chain.sha256 not in kept:
                self._chains.keep(chain)
                kept.add(chain.sha256)

    def _chain_of(
        self, peer: Prefix, inspection: Inspection, newest: VerifiedChain | None
    ) -> VerifiedChain | None:
        """Return the newest chain of the peer, after what the token brings was looked at.

        `newest` is what the batch went by so far; one batch goes by one chain, unless a token brings a newer one.
        """
        brought = inspection.envelope.chain if inspection.envelope is not None else None
        if isinstance(brought, tuple):
            return self._chains.take(peer, brought)
        newest = newest or self._chains.newest(peer)
        if newest is not None and newest.leaf.key(inspection.kid) is not None:
            return newest
        return self._chains.newest(peer, look=True)

    def _content(self, items: Sequence[_Item]) -> None:
        """Steps 10 and 11, as far as they need no lock."""
        held = 0
        for item in items:
            if item.line is not None:
                continue
            inspection = item.inspection
            wanted = inspection.wants_body
            if wanted is not None:
                if held >= _MAX_BODIES_BYTES:
                    error = RateLimitError("federation.exchange_receiving.credit", limit=self._credit)
                    item.line = Refuse(429, "credit", error, _RETRY_SECONDS).line()
                    continue
                with self._database.read() as connection:
                    item.data = ReceivedUnit(connection).body(_raw(wanted))
                held += len(item.data or b"")
            inspection.content(self._handlers, item.data)

    # the transaction

    def _take(self, mine: Prefix, items: Sequence[_Item]) -> None:
        """Steps 7 to 9 and 12."""
        waiting = [item for item in items if item.line is None]
        now = int(self._clock.now())
        for first in range(0, len(waiting), self._at_once):
            part = waiting[first : first + self._at_once]
            try:
                lines = self._attempt(mine, part, now, careful=False)
            except EffectRefusedError:
                lines = self._attempt(mine, part, now, careful=True)
            for item, line in zip(part, lines, strict=True):
                item.line = line

    def _attempt(self, mine: Prefix, items: Sequence[_Item], now: int, *, careful: bool) -> list[Line]:
        with self._database.write() as connection:
            if self._may_sign is not None:
                self._may_sign(connection)
            taking = Taking(self._context, connection, receiver=mine, now=now, careful=careful)
            taking.lock([(item.inspection, item.env) for item in items])
            for item in items:
                taking.settle(item.inspection, item.env, stale=item.stale, data=item.data)
            return taking.finish()

    def _receiver_of(self, peer: Prefix) -> Prefix:
        for above in peer.ancestors()[1:]:
            if self._homes.answers_for(above):
                return above
        raise NotResponsibleError("federation.exchange_receiving.receiver", field="prefix", prefix=peer.key)


def _line(item: _Item) -> Line:
    if item.line is None:  # pragma: no cover — every path sets it
        raise InternalError("federation.exchange.step_left_out", field="line")
    return item.line


def _raw(name: str) -> bytes:
    """Return the bytes of a digest that was read, so is one."""
    return from_b64u(name) or b""
