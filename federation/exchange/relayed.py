"""What came inside a relay: verified as if it had come straight from its origin, and applied once.

Rules (facts on federation, (b) "Transport … Relay"):

- the inner signature, the inner chain and the inner rights are held here again; the inner `aud` must be the relay,
  the origin must lie below it, and the stream must be the same: a relay never widens anything;
- the inner chain is evidence: it must have held when the relay took the envelope in, whatever was renewed since;
- a relay may hold a relay; at most as many as there are tiers;
- an inner envelope is applied once at each receiver, whoever brings it and however often. A second one under the
  same number of the same sender is refused: both tokens stay in the inbox, as evidence.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from federation.exchange.body import first_outside
from federation.exchange.chains import Chains
from federation.exchange.checks import Judge
from federation.exchange.envelope import Envelope
from federation.exchange.handlers import Arrived, Delivery, Handlers
from federation.exchange.relay import RELAY_TYPE, RelayForm, innermost, relay_schema
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.streams import CONTROL, STREAMS, operation
from registry.errors import (
    ConflictError,
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    LimitError,
    MalformedError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.chain import MAX_LENGTH, VerifiedChain
from registry.trust.encoding import from_b64u
from registry.trust.refusal import as_kind

__all__ = ["Inner", "RelayHandler", "relay_handlers"]

#: Relays that were verified and wait for their transaction; larger ones are verified again there.
_REMEMBERED = 512
_QUERY = "query"
_LARGE = 32_768


@dataclass(frozen=True, slots=True)
class Inner:
    """What was found inside a relay, verified.

    Attributes:
        envelope: the innermost, original envelope.
        chain: vouches for its sender.
        via: who passed it on, nearest to the origin first.
        body: its content, as a handler sees it.
    """

    envelope: Envelope
    chain: VerifiedChain
    via: tuple[Prefix, ...]
    body: Any

    @property
    def origin(self) -> Prefix:
        """Who signed the content."""
        return self.envelope.iss


class RelayHandler:
    """The handler of type `relay` on one stream; `relay_handlers` makes one for each.

    Args:
        stream: the one it is for.
        handlers: who applies what is inside.
        chains: verifies the chains that came along.
        now: POSIX seconds.
        judge: what is known against keys.
    """

    def __init__(
        self,
        stream: str,
        *,
        handlers: Handlers,
        chains: Chains,
        now: Callable[[], float],
        judge: Judge | None = None,
    ) -> None:
        self.type = RELAY_TYPE
        self.stream = stream
        self.schemas = frozenset({relay_schema(stream)})
        self._handlers = handlers
        self._chains = chains
        self._now = now
        self._judge = judge
        self._opened: OrderedDict[str, Inner | HazlinkError] = OrderedDict()
        self._lock = threading.Lock()

    def identifiers(self, body: Any) -> Iterable[str]:
        """Return nothing: what is inside is held against the rights of its own sender."""
        del body
        return ()

    def check(self, body: Any) -> None:
        """Refuse a body that is no relay; verify what is inside already, because that needs no transaction.

        Raises:
            MalformedError: it is no relay, or what is inside cannot be read.
        """
        form = RelayForm.read(body)
        opened: Inner | HazlinkError
        try:
            opened = self._open(form)
        except (MalformedError, LimitError):
            raise
        except HazlinkError as error:
            opened = error
        if len(form.token) > _LARGE:
            return
        with self._lock:
            self._opened[form.token] = opened
            while len(self._opened) > _REMEMBERED:
                self._opened.popitem(last=False)

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Deliver what is inside, once.

        Raises:
            UntrustedError, ForbiddenError: it does not hold, or its sender may not say it.
            ConflictError: its sender signed another one under the same number.
            HazlinkError: what its own handler refuses.
        """
        with self._lock:
            opened = self._opened.get(delivery.body["token"])
        if opened is None:
            opened = self._open(RelayForm.read(delivery.body))
        if isinstance(opened, HazlinkError):
            raise opened
        self._require_below(opened, delivery)
        self._deliver(connection, opened, delivery)

    def origin(self, body: Any) -> Prefix:
        """Return who signed what is inside; of a body that passed `check`.

        Raises:
            MalformedError: the body is no relay.
        """
        return innermost(body).iss

    def apply_stored(self, connection: Any, body: Any, receiver: Prefix, outer: Envelope) -> bool:
        """Deliver what waited for a handler inside a relay; False when there is still none.

        Raises:
            HazlinkError: what its own handler refuses.
        """
        opened = self._open(RelayForm.read(body))
        handler = self._handlers.find(opened.envelope.type, opened.envelope.schema)
        if handler is None:
            return False
        handler.check(opened.body)
        handler.apply(connection, _delivery(opened, outer.iss, receiver, outer.iat))
        return True

    def _deliver(self, connection: Any, inner: Inner, outer: Delivery) -> None:
        envelope = inner.envelope
        unit = ReceivedUnit(connection)
        receiver = outer.receiver.key
        env = _digest(envelope.env)
        if unit.relayed(receiver, env) is not None:
            return
        if unit.relayed_at(receiver, (envelope.iss.key, envelope.stream), envelope.epoch, envelope.seq):
            raise ConflictError(
                "federation.exchange_receiving.relay_equivocation",
                field="seq",
                value=envelope.iss.key,
                seq=f"{envelope.epoch}/{envelope.seq}",
                stream=envelope.stream,
            )
        handler = self._handlers.find(envelope.type, envelope.schema)
        unit.put_chain(
            _digest(inner.chain.sha256),
            inner.chain.subject.key,
            inner.chain.tokens,
            ver=inner.chain.leaf.ver,
            at=outer.received_at,
        )
        unit.put_relayed(
            {
                "aud": receiver,
                "env": env,
                "outer": _digest(outer.envelope.env),
                "iss": envelope.iss.key,
                "stream": envelope.stream,
                "epoch": envelope.epoch,
                "seq": envelope.seq,
                "chain": _digest(inner.chain.sha256),
                "type": envelope.type,
                "schema": envelope.schema,
                "applied": 0 if handler is None else 1,
                "at": outer.received_at,
            }
        )
        if handler is not None:
            handler.apply(
                connection,
                _delivery(inner, outer.envelope.iss, outer.receiver, outer.received_at, outer.arrived),
            )

    def _require_below(self, inner: Inner, outer: Delivery) -> None:
        """Refuse what was not addressed to the relay, came on another stream, or is none of the relay's business."""
        relay = outer.envelope.iss
        envelope, via = inner.envelope, (*inner.via, relay)
        if envelope.stream != self.stream:
            raise UntrustedError(
                "federation.exchange_receiving.relay_stream",
                field="stream",
                value=envelope.stream,
                right=self.stream,
            )
        if envelope.aud != via[0]:
            raise UntrustedError(
                "federation.exchange_receiving.relay_inside",
                field="aud",
                value=envelope.aud.key,
                right=via[0].key,
            )
        # Upwards, whatever the policy passes on; downwards, questions alone. Never to and fro.
        down = envelope.stream == _QUERY and envelope.iss.contains(via[0])
        one = envelope.iss
        for passing in via:
            high, low = (one, passing) if down else (passing, one)
            if low == high or not high.contains(low):
                raise ForbiddenError(
                    "federation.exchange_receiving.relay_below",
                    field="iss",
                    value=one.key,
                    right=passing.key,
                )
            one = passing
        if down and not one.contains(outer.receiver):
            raise ForbiddenError(
                "federation.exchange_receiving.relay_below",
                field="aud",
                value=outer.receiver.key,
                right=one.key,
            )

    def _open(self, form: RelayForm, depth: int = 1) -> Inner:
        """Verify what is inside, down to the original envelope."""
        envelope = form.envelope
        chain = self._held(form)
        if envelope.type == RELAY_TYPE:
            if depth >= MAX_LENGTH:
                raise UntrustedError("federation.exchange_receiving.relay_deep", limit=MAX_LENGTH)
            inside = RelayForm.read(form.body)
            found = self._open(inside, depth + 1)
            if inside.envelope.aud != envelope.iss:
                raise UntrustedError(
                    "federation.exchange_receiving.relay_inside",
                    field="aud",
                    value=inside.envelope.aud.key,
                    right=envelope.iss.key,
                )
            return Inner(found.envelope, found.chain, (*found.via, envelope.iss), found.body)
        self._authorise(envelope, chain, form.body)
        return Inner(envelope, chain, (), form.body)

    def _held(self, form: RelayForm) -> VerifiedChain:
        """Verify signature and chain of one envelope inside."""
        envelope = form.envelope
        chain = self._chains.travelled(form.chain, at=min(envelope.iat, self._now()))
        if chain.subject != envelope.iss:
            raise UntrustedError(
                "federation.exchange_receiving.chain_subject",
                field="chain",
                value=chain.subject.key,
                right=envelope.iss.key,
            )
        chain.require_active()
        if self._judge is not None:
            self._judge(chain, envelope.kid, envelope)
        jws.verify(envelope.parsed, chain.signing_key(envelope.kid, envelope.iat))
        return chain

    def _authorise(self, envelope: Envelope, chain: VerifiedChain, body: Any) -> None:
        """Hold the inner content against the rights of its own sender, and its schema against its handler."""
        needed = operation(envelope.stream)
        if needed is not None and not chain.covers(envelope.iss.handle, needed):
            raise _no_right(envelope.iss.key, needed)
        rules = self._handlers.find(envelope.type, envelope.schema)
        more: Iterable[str] = ()
        if rules is not None:
            if rules.stream != envelope.stream:
                raise _no_right(envelope.iss.key, envelope.type)
            try:
                rules.check(body)
            except (MalformedError, LimitError) as error:
                raise as_kind(error, InvalidValueError) from error
            more = tuple(rules.identifiers(body))
        found = first_outside(body, chain.leaf.perms, needed, more)
        if found is not None:
            raise _no_right(envelope.iss.key, found.value[:200])


def relay_handlers(
    handlers: Handlers,
    chains: Chains,
    now: Callable[[], float],
    *,
    judge: Judge | None = None,
    streams: Iterable[str] = STREAMS,
) -> tuple[RelayHandler, ...]:
    """Return one handler for relays on each stream but `control`; register them with `handlers`."""
    return tuple(
        RelayHandler(stream, handlers=handlers, chains=chains, now=now, judge=judge)
        for stream in streams
        if stream != CONTROL
    )


def _delivery(
    inner: Inner, relay: Prefix, receiver: Prefix, at: int, arrived: Arrived | None = None
) -> Delivery:
    return Delivery(
        envelope=inner.envelope,
        origin=inner.origin,
        via=(*inner.via, relay),
        chain=inner.chain,
        received_at=at,
        body=inner.body,
        receiver=receiver,
        arrived=arrived,
    )


def _digest(name: str) -> bytes:
    raw = from_b64u(name)
    if raw is None:  # pragma: no cover — names of verified things are digests
        raise MalformedError("federation.exchange_receiving.body_name", value=name)
    return raw


def _no_right(who: str, what: str) -> ForbiddenError:
    return ForbiddenError("federation.exchange_receiving.relay_right", field="body", value=who, what=what)
