"""Whether the database still knows all that was signed: decided from mark file and cosigned checkpoints, no I/O.

Rules (facts on federation, (b) "Restore from backup"):

- a checkpoint over more leaves than the log has: the database is behind;
- a lane whose reserved bound lies further ahead than one reservation explains, or whose epoch is older than the
  marked one: behind;
- a lane that was stopped because its receiver knew a later number: behind;
- a mark file made anew (not `sure`) knows nothing: every peer must be asked before anything is signed;
- otherwise it is consistent, and a peer that cannot be reached keeps nobody from working.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from federation.exchange.storage.sending import LaneState
from federation.marks.content import RESERVED_AT_ONCE, CheckpointMark, Content, LaneMark, lane_name

__all__ = ["BEHIND", "Assessment", "assess", "is_behind"]

#: Code with which a sender stops a lane whose receiver knows more than it does.
BEHIND = "behind"

#: A transaction reserves for its whole batch and may fail then: no batch is larger than this.
_LARGEST_BATCH = 4_096


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is known at the start.

    Attributes:
        sure: the mark file can be believed.
        log: checkpoint the log has to reach; None when it covers all that was signed.
        lanes: names of the lanes that are behind, as the mark file names them.
    """

    sure: bool
    log: CheckpointMark | None
    lanes: frozenset[str]

    @property
    def consistent(self) -> bool:
        """Whether signing may go on at once."""
        return self.sure and self.log is None and not self.lanes


def assess(
    marks: Content,
    lanes: Iterable[LaneState],
    *,
    origin: str,
    size: int,
    witnessed: Iterable[CheckpointMark] = (),
) -> Assessment:
    """Compare.

    Args:
        marks: the mark file.
        lanes: where the database says the lanes stand.
        origin: the log's name.
        size: leaves in the database.
        witnessed: checkpoints of this log that witnesses cosigned last, verified.
    """
    known: Mapping[str, LaneState] = {
        lane_name(state.lane.iss, state.lane.aud, state.lane.stream): state for state in lanes
    }
    behind = {name for name, mark in marks.lanes.items() if is_behind(mark, known.get(name))}
    behind |= {name for name, state in known.items() if state.state != "open" and state.failure == BEHIND}
    own = marks.checkpoints.get(origin)
    signed = [*witnessed, *([own] if own is not None else [])]
    furthest = max(signed, key=lambda mark: mark.size, default=None)
    if furthest is not None and furthest.size <= size:
        furthest = None
    return Assessment(marks.sure, furthest, frozenset(behind))


def is_behind(mark: LaneMark, state: LaneState | None) -> bool:
    """Say whether numbers must have been used that the database does not know."""
    epoch, next_seq = (state.epoch, state.next_seq) if state is not None else (1, 1)
    if mark.epoch != epoch:
        return mark.epoch > epoch
    return mark.bound > next_seq + RESERVED_AT_ONCE + _LARGEST_BATCH
