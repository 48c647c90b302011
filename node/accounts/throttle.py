"""Slows down guessing: after some failed logins each further try must wait, twice as long every time.

Counted for the name from one address, for the name from anywhere (ten times as patient, so that a stranger cannot
lock somebody out cheaply) and for the address (six times as patient). Bounded: the oldest entries are forgotten.
"""

from collections import OrderedDict

from registry.clock import Clock
from registry.errors import RateLimitError

__all__ = ["Throttle"]

_FORGET_SECONDS = 3600.0
_MOST = 10_000


class Throttle:
    """Counters of failed logins. Owner of the state: the event loop's thread."""

    def __init__(self, *, clock: Clock, failures: int, longest_wait_seconds: float) -> None:
        self._clock = clock
        self._failures = failures
        self._longest = longest_wait_seconds
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, name: str, address: str) -> None:
        """Let a try pass.

        Raises:
            RateLimitError: this name or address has to wait.
        """
        now = self._clock.monotonic()
        waits = [self._wait(key, patience, now) for key, patience in self._keys(name, address)]
        if (wait := max(waits)) > 0:
            raise RateLimitError("node.accounts.throttled", retry_after=wait, seconds=int(wait) + 1)

    def failed(self, name: str, address: str) -> None:
        """Count a failed try."""
        now = self._clock.monotonic()
        for key, _ in self._keys(name, address):
            count, at = self._seen.pop(key, (0, now))
            self._seen[key] = (1 if now - at > _FORGET_SECONDS else count + 1, now)
        while len(self._seen) > _MOST:
            self._seen.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name from this address."""
        self._seen.pop(f"{name}\0{address}", None)

    def _keys(self, name: str, address: str) -> tuple[tuple[str, int], ...]:
        return (
            (f"{name}\0{address}", self._failures),
            (f"{name}\0", self._failures * 10),
            (f"\1{address}", self._failures * 6),
        )

    def _wait(self, key: str, patience: int, now: float) -> float:
        count, at = self._seen.get(key, (0, now))
        if count < patience or now - at > _FORGET_SECONDS:
            return 0.0
        # 1, 2, 4 … seconds; the exponent is bounded so that the power stays small
        return at + min(2.0 ** min(count - patience, 20), self._longest) - now
