"""Keys that change while envelopes are on their way: none is lost, and none is dated back.

Rules (facts on federation, (b) "Rotation in flight"):

- once a rotation is remembered, nothing more is sealed with the old key: drafts wait until the superior answered;
- only then is it looked up what the old key signed last; the superior lets it count up to there and no further;
- which key may sign is read in the sealing transaction itself: a picture in memory may be half a second old.
"""

from typing import Any, Protocol

from federation.exchange.storage.sending import SendingUnit
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.storage.prefixes import PrefixUnit
from registry.trust.revocation import LastGood

__all__ = ["KeyInUse", "SignedLanes", "key_in_use"]


class KeyInUse(Protocol):
    """Says which key may sign new envelopes; `key_in_use` is one."""

    def __call__(self, connection: Any, prefix: Prefix, /) -> str | None:
        """Return the thumbprint; None while nothing may be signed."""
        ...


def key_in_use(connection: Any, prefix: Prefix, /) -> str | None:
    """Return the thumbprint of the key with which `prefix` may sign new envelopes; None while it is being replaced.

    Args:
        connection: the open transaction, which holds the fence.
        prefix: homed here.
    """
    home = PrefixUnit(connection).home(prefix)
    return None if home is None or home.next_kid is not None else home.kid


class SignedLanes:
    """What was signed on the lanes of this node; implements `federation.membership.ports.Lanes`.

    Consistency: sealing transactions under way are waited for. Concurrency: any number of threads and processes.
    Errors: UnavailableError when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_signed(self, prefix: Prefix) -> dict[str, LastGood]:
        """Return stream → the last position that `prefix` signed, over all its lanes of the stream."""
        found: dict[str, LastGood] = {}
        with self._database.write() as connection:
            unit = SendingUnit(connection)
            unit.hold_fence()
            for state in unit.lanes():
                if state.lane.iss != prefix or (state.epoch, state.next_seq) == (1, 1):
                    continue
                stream, here = state.lane.stream, LastGood(state.epoch, state.next_seq - 1)
                found[stream] = max(found.get(stream, here), here)
        return found
