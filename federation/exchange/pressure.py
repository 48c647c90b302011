"""Back-pressure at the door: how much of one peer, and of all together, is taken in at the same time.

A batch is held in memory while it is verified and stored; what bounds the number of batches bounds the memory. Every
peer has the same share, so one that floods waits for itself and nobody else; alarms have a share of their own.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from registry.errors import BusyError, RateLimitError
from registry.identifier import Prefix

__all__ = ["Pressure"]

_ALARM = "alarm"


class Pressure:
    """Counts what is being taken in. Owner of its state: the event loop's thread.

    Args:
        per_peer: requests of one peer at the same time, for alarms and for everything else; a sender of ours has one
            connection for each stream.
        total: requests of all peers at the same time, likewise.
        retry_seconds: when a peer that is refused may come again.
    """

    def __init__(self, *, per_peer: int = 6, total: int = 16, retry_seconds: float = 1.0) -> None:
        self._per_peer = per_peer
        self._total = total
        self._retry = retry_seconds
        self._peers: Counter[tuple[str, bool]] = Counter()
        self._all: Counter[bool] = Counter()

    @contextmanager
    def admitted(self, peer: Prefix, stream: str) -> Iterator[None]:
        """Hold a place while a request is worked on.

        Raises:
            RateLimitError: this peer has as many as it may; HTTP 429.
            BusyError: all peers together have; HTTP 503.
        """
        alarm = stream == _ALARM
        mine = (peer.key, alarm)
        if self._peers[mine] >= self._per_peer:
            raise RateLimitError(
                "federation.exchange_receiving.busy",
                retry_after=self._retry,
                prefix=peer.key,
                seconds=int(self._retry),
            )
        if self._all[alarm] >= self._total:
            raise BusyError(
                "federation.exchange_receiving.busy",
                retry_after=self._retry,
                prefix=peer.key,
                seconds=int(self._retry),
            )
        self._peers[mine] += 1
        self._all[alarm] += 1
        try:
            yield
        finally:
            self._all[alarm] -= 1
            self._peers[mine] -= 1
            if not self._peers[mine]:
                del self._peers[mine]
