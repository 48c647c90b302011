"""Tables of the log and their units of work; the only place in this room that speaks SQL."""

from federation.log.storage.rows import LogRow, StoredCheckpoint, StoredTile
from federation.log.storage.tables import (
    log,
    log_checkpoint,
    log_fork,
    log_leaf,
    log_mirror,
    log_seen,
    log_tile,
    log_witnessed,
)
from federation.log.storage.unit import LogUnit
from federation.log.storage.witnessed import ForkRow, WitnessedRow, WitnessUnit

__all__ = [
    "ForkRow",
    "LogRow",
    "LogUnit",
    "StoredCheckpoint",
    "StoredTile",
    "WitnessUnit",
    "WitnessedRow",
    "log",
    "log_checkpoint",
    "log_fork",
    "log_leaf",
    "log_mirror",
    "log_seen",
    "log_tile",
    "log_witnessed",
]
