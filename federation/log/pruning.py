"""Pruning: old entries are no longer served, and old checkpoints thinned out. No leaf is ever deleted.

Proofs that were made stay valid, and new ones can still be made: the tiles stay. What goes is what nobody needs
twice: of checkpoints older than a month the last of each hour is kept.
"""

from dataclasses import dataclass

from federation.log.storage import LogUnit
from federation.log.tiles import WIDTH
from registry.clock import Clock
from registry.errors import InvalidValueError, NotFoundError
from registry.storage.engine import Database

__all__ = ["Pruned", "prune"]

_KEPT_SECONDS = 30 * 86_400
_ONE_EACH_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning did: the first entry that is still served, and how many checkpoints were dropped."""

    minimum: int
    checkpoints: int


def prune(database: Database, *, before: int, clock: Clock) -> Pruned:
    """Serve no entry below `before` any more, rounded down to a whole bundle of 256.

    Raises:
        InvalidValueError: below the present minimum, or beyond what was published.
        NotFoundError: there is no log yet.
    """
    minimum = before // WIDTH * WIDTH
    with database.write() as connection:
        unit = LogUnit(connection)
        row, newest = unit.row(), unit.newest()
        if row is None or newest is None:
            raise NotFoundError("federation.log.no_log")
        if not row.minimum <= minimum <= newest.size:
            raise InvalidValueError(
                "federation.log.minimum", field="before", value=minimum, least=row.minimum, most=newest.size
            )
        unit.set_minimum(minimum)
        gone = unit.thin_checkpoints(int(clock.now()) - _KEPT_SECONDS, _ONE_EACH_SECONDS)
    return Pruned(minimum, gone)
