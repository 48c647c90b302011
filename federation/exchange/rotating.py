"""Keys that change while envelopes are on their way: none is lost, and none is dated back.

Rules (facts on federation, (b) "Rotation in flight"):

- once a rotation is remembered, nothing more is sealed with the old key: drafts wait until the superior answered;
- only then is it looked up what the old key signed last; the superior lets it count up to there and no further;
- which key may sign is read in the sealing transaction itself: a picture in memory may be half a second old;
- nothing is sealed at a time at which its key does not sign, as the superior's statement has it: every receiver would
  refuse it for ever, and all that stands behind it on its lane. Receivers and we allow for the same difference of
  clocks; a clock that is wrong by more has to be put right first.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from federation.exchange.storage.sending import SendingUnit
from registry.errors import UnavailableError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.storage.prefixes import PrefixUnit
from registry.trust.revocation import LastGood
from registry.trust.statement import read

__all__ = ["KeyInUse", "SignedLanes", "key_in_use", "require_in_life"]


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


def require_in_life(chain: Sequence[str], kid: str, at: float) -> None:
    """Make sure that a key may sign at a time, as receivers will see it.

    Args:
        chain: the statements that vouch for its prefix, leaf first.
        kid: thumbprint of the key.
        at: POSIX seconds, by this node's clock.

    Raises:
        UnavailableError: the time lies before or behind the life of the key.
    """
    if not chain:
        return
    said = read(chain[0])
    key = said.key(kid)
    if key is not None and not key.good_at(at):
        raise UnavailableError(
            "federation.exchange_sending.out_of_life",
            field="kid",
            prefix=said.subject.key,
            value=kid,
            now=int(at),
            begins=key.nbf,
            ends=key.exp if key.exp is not None else "-",
        )


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
