"""The receivers this node sends to: one object for each (sender, receiver), made when it is first needed.

A receiver homed in this very process is handed its envelopes directly; a superior is asked over HTTPS; whoever comes
and fetches has no entry here.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from federation.exchange.client import Connect, Copy, HttpPeer, Peer
from federation.exchange.config import ExchangeConfig
from federation.exchange.reaching import Reach, Reaching
from federation.exchange.receipt import Line
from federation.exchange.sealing import Speakers
from registry.clock import Clock
from registry.identifier import Prefix
from resolver.pool import in_pool

__all__ = ["Here", "LocalPeer", "Peers"]


class Here(Protocol):
    """The receiving side of this process, as other nodes reach it too; `federation.exchange.inbound.Inbound` is one.

    Consistency, durability, errors: as it says at each method. Concurrency: any number of threads.
    """

    def receive(
        self,
        peer: Prefix,
        stream: str,
        tokens: Sequence[bytes],
        *,
        receiver: Prefix | None = None,
        at: tuple[int, int] | None = None,
    ) -> list[Line]:
        """Take envelopes of `peer` for `receiver`; `at` is the (epoch, seq) of the URL of a single one."""
        ...

    def put_body(self, peer: Prefix, sha256: bytes, data: bytes) -> None:
        """Keep a detached body until its envelope comes."""
        ...

    def introduce(self, peer: Prefix, chain: Sequence[str]) -> None:
        """Learn a chain of the peer."""
        ...

    def announce(self, peer: Prefix, statement: str, countersigned: str) -> None:
        """Open an epoch that was announced and countersigned."""
        ...


class LocalPeer:
    """A receiver homed in this very process: the same checks, no connection; implements `Peer`."""

    def __init__(self, *, iss: Prefix, aud: Prefix, here: Here, executor: Executor, urgent: Executor) -> None:
        """Take the parts.

        Args:
            iss: who speaks.
            aud: the prefix spoken to.
            here: the receiver.
            executor: for blocking calls.
            urgent: for those of the alarm stream.
        """
        self._iss = iss
        self._here = here
        self._executor = executor
        self._urgent = urgent
        self._take = partial(here.receive, receiver=aud)

    async def send(self, stream: str, tokens: Sequence[bytes]) -> list[Line]:
        """Hand envelopes to the receiver."""
        return await in_pool(self._pool(stream), self._take, self._iss, stream, tokens)

    async def send_alone(self, stream: str, epoch: int, seq: int, token: bytes) -> list[Line]:
        """Hand one envelope to the receiver, with the number it stands under."""
        return await in_pool(self._pool(stream), self._take, self._iss, stream, [token], at=(epoch, seq))

    def _pool(self, stream: str) -> Executor:
        return self._urgent if stream == "alarm" else self._executor

    async def put_body(self, stream: str, sha256: bytes, data: bytes) -> None:  # noqa: ARG002 — the port's form
        """Hand over a detached body."""
        await in_pool(self._executor, self._here.put_body, self._iss, sha256, data)

    async def introduce(self, chain: Sequence[str]) -> None:
        """Show a whole chain."""
        await in_pool(self._executor, self._here.introduce, self._iss, chain)

    async def announce(self, stream: str, statement: str, countersigned: str) -> None:  # noqa: ARG002 — as above
        """Show the countersigned announcement of an epoch."""
        await in_pool(self._executor, self._here.announce, self._iss, statement, countersigned)

    async def alive(self) -> bool:
        """Say yes."""
        return True


class Peers:
    """Finds the peer of a lane. Owner of what it made: the event loop that uses it."""

    def __init__(
        self,
        *,
        reaching: Reaching,
        here: Here,
        connect: Connect,
        speakers: Speakers,
        copy: Copy,
        clock: Clock,
        executor: Executor,
        urgent: Executor,
        config: ExchangeConfig,
    ) -> None:
        """Take the parts.

        Args:
            reaching: where receivers are.
            here: the receiver of this process.
            connect: opens a client for a certificate pin, with connections of its own.
            speakers: the keys and chains of this node.
            copy: which copy of this node this is.
            clock: the time.
            executor: for blocking calls.
            urgent: for those that alarms wait for, and that never take long; bulk never fills it.
            config: limits.
        """
        self._reaching = reaching
        self._here = here
        self._connect = connect
        self._speakers = speakers
        self._copy = copy
        self._clock = clock
        self._executor = executor
        self._urgent = urgent
        self._config = config
        self._above: dict[tuple[Prefix, Prefix], HttpPeer] = {}

    def of(self, iss: Prefix, aud: Prefix) -> Peer | None:
        """Return the peer of a lane; None when the receiver comes and fetches, or nobody knows it."""
        reach = self._reaching.find(iss, aud)
        if reach is None:
            return None
        if reach.local:
            return LocalPeer(iss=iss, aud=aud, here=self._here, executor=self._executor, urgent=self._urgent)
        return self.above(iss, aud)

    def above(self, iss: Prefix, aud: Prefix) -> HttpPeer:
        """Return the superior's node `aud`, spoken to in the name of `iss`."""
        found = self._above.get((iss, aud))
        if found is None:
            found = self._above[iss, aud] = HttpPeer(
                iss=iss,
                aud=aud,
                reach=_finder(self._reaching, iss, aud),
                connect=self._connect,
                speakers=self._speakers,
                copy=self._copy,
                clock=self._clock,
                executor=self._urgent,
                config=self._config,
            )
        return found

    def superiors(self) -> list[tuple[Prefix, Prefix]]:
        """Return (own prefix, superior) for every prefix whose superior is another node's."""
        return self._reaching.superiors()

    def skews(self) -> dict[str, float]:
        """Return, by prefix, seconds by which the clocks of superiors are ahead of ours."""
        return {aud.key: peer.skew for (_, aud), peer in list(self._above.items())}

    async def close(self) -> None:
        """Close every connection."""
        while self._above:
            _, peer = self._above.popitem()
            await peer.close()


def _finder(reaching: Reaching, iss: Prefix, aud: Prefix) -> Callable[[], Reach | None]:
    return lambda: reaching.find(iss, aud)
