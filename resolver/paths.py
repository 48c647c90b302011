"""The ways to prefixes that were verified: where a walk may begin without asking the tiers above again.

- a way is used for some minutes, then its superior is asked again;
- a way that led nowhere is doubted: its superior is asked at the next walk, but not again for a short while, so that
  an owner who is simply away costs his superior little;
- an old or doubted way is still there for when the superior is silent.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from registry.clock import Clock
from registry.identifier import Identifier, Prefix
from registry.trust.chain import VerifiedChain

__all__ = ["Paths"]

#: How long a way is not doubted after its superior said it.
_SURE_SECONDS = 10.0


@dataclass(slots=True)
class _Path:
    """The way to a prefix.

    Attributes:
        chain: the delegation.
        ask_again: steady second after which the tier above is asked again.
        sure_until: steady second before which it is not asked again, even when nobody answers there.
    """

    chain: VerifiedChain
    ask_again: float
    sure_until: float


class Paths:
    """Chains by their subject, the least recently learnt dropped first; used from any thread.

    Args:
        clock: the clock.
        delegation_seconds: how long a way is used before the tier above is asked again.
        most: ways that are remembered.
    """

    def __init__(self, *, clock: Clock, delegation_seconds: float, most: int) -> None:
        self._clock = clock
        self._delegation_seconds = delegation_seconds
        self._most = most
        self._lock = threading.Lock()
        self._paths: OrderedDict[str, _Path] = OrderedDict()

    def learn(self, chain: VerifiedChain) -> None:
        """Remember the way to the subject of a verified chain."""
        now = self._clock.monotonic()
        path = _Path(chain, now + self._delegation_seconds, now + _SURE_SECONDS)
        with self._lock:
            self._paths[chain.subject.key] = path
            self._paths.move_to_end(chain.subject.key)
            while len(self._paths) > self._most:
                self._paths.popitem(last=False)

    def forget(self, prefix: Prefix) -> None:
        """Forget the ways to a prefix and below: something about it changed."""
        with self._lock:
            for key in [key for key in self._paths if prefix.contains(Prefix(key))]:
                del self._paths[key]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._paths.clear()

    def doubt(self, prefix: Prefix) -> bool:
        """Have the tier above asked again at the next walk, since the way to a prefix led nowhere.

        Returns:
            Whether that may lead elsewhere: not when the way was learnt or doubted a moment ago.
        """
        now = self._clock.monotonic()
        with self._lock:
            path = self._paths.get(prefix.key)
            if path is None or now < path.sure_until:
                return False
            path.ask_again, path.sure_until = now, now + _SURE_SECONDS
            return True

    def to(self, identifier: Identifier, *, old: bool) -> list[VerifiedChain]:
        """Return the ways to an identifier, the longest first.

        Args:
            identifier: what is looked for.
            old: also those whose superior should be asked again.
        """
        now = self._clock.monotonic()
        with self._lock:
            found = [self._paths.get(above.key) for above in identifier.authority.ancestors()]
        return [path.chain for path in found if path is not None and (old or now < path.ask_again)]
