"""Lanes that begin anew after a restore, because a number might else be signed twice.

Rules (facts on federation, (b) "Restore from backup"):

- the mark file says up to which number may have been signed. What came back from the receiver and from the log says
  what was. Between the two lie numbers of envelopes that nobody may have seen, sealed in the last seconds before the
  loss: they are never used again, so a lane with such a gap goes on in the next epoch;
- so does a lane that nobody can be asked about, and every lane when the marks themselves were lost;
- the superior consents to each epoch. Where it is in a later one than anything here remembers, it refuses the ones
  below, and the next higher is asked for;
- an answer that was lost is asked for again with the very same statement, which the superior knows.
"""

import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from federation.exchange import epoch as epochs
from federation.exchange.epoch import EpochStatement
from federation.exchange.recovery import Recovery
from federation.exchange.returning import Reached
from federation.exchange.sealing import Speakers
from federation.exchange.storage.sending import LaneName, LaneState
from federation.marks.content import LaneMark, lane_name
from federation.marks.file import MarkFile
from registry.clock import Clock
from registry.errors import ConflictError, HazlinkError, UnavailableError
from registry.identifier import Prefix
from resolver.pool import in_pool

__all__ = ["Consents", "Reopening", "Situation"]

_LOG = logging.getLogger("federation.exchange.healing")
_STOPPED = "epoch_needed"
#: Epochs above the last one known here that are asked for, one after another.
_TRIES = 16


class Consents(Protocol):
    """The superiors, as far as this node can connect to them, and whom else it reaches.

    Consistency: none. Concurrency: any number of tasks. Errors: HazlinkError when one does not answer, or refuses.
    """

    def reaches(self, lane: LaneName) -> bool:
        """Say whether the receiver of a lane is another node that this one connects to."""
        ...

    async def countersign(self, iss: Prefix, statement: str) -> str:
        """Get the consent of the superior of `iss` to a new epoch.

        Raises:
            ConflictError: the epoch does not follow the one it knows.
        """
        ...


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when lanes are looked at.

    Attributes:
        sure: the marks are those of before the loss.
        log_lost: the log was closed, and another begun.
        reached: how far the log says each lane had come.
        marked: the lanes of the mark file, as it was at the start.
    """

    sure: bool
    log_lost: bool
    reached: Mapping[LaneName, Reached]
    marked: Mapping[LaneName, LaneMark]


class Reopening:
    """Opens new epochs. Owner of its state: the event loop of the elected process; it lives as long as the healer."""

    def __init__(
        self,
        *,
        recovery: Recovery,
        marks: MarkFile,
        consents: Consents,
        speakers: Speakers,
        clock: Clock,
        executor: Executor,
    ) -> None:
        """Take the parts; see `healing.Healer`."""
        self._recovery = recovery
        self._marks = marks
        self._consents = consents
        self._speakers = speakers
        self._clock = clock
        self._executor = executor
        self._asked: dict[LaneName, EpochStatement] = {}
        self._opened: set[LaneName] = set()

    def done(self) -> None:
        """Forget what was asked and opened: the healing is over."""
        self._asked.clear()
        self._opened.clear()

    async def needed(self, lane: LaneName, seen: Situation, *, broken: bool) -> bool:
        """Say whether a lane has to begin anew.

        Args:
            lane: after whatever its receiver gave back was stored.
            seen: what is known.
            broken: its receiver gave something back that is not this lane.
        """
        state = await self._state(lane)
        mark = seen.marked.get(lane)
        if lane in self._opened or (state is None and mark is None and lane not in seen.reached):
            return False
        if broken or seen.log_lost or not seen.sure or not self._consents.reaches(lane):
            return True
        here = (state.epoch, state.next_seq - 1) if state is not None else (0, 0)
        reached = seen.reached.get(lane)
        if reached is not None and reached.place > here:
            return True
        return mark is not None and (mark.epoch, mark.bound) > here

    async def open(self, lane: LaneName, seen: Situation) -> bool:
        """Open a new epoch; False when the superior does not consent, and then the lane stays stopped.

        Raises:
            UnavailableError: the superior does not answer.
            ConflictError: another process has taken over.
        """
        for step in range(_TRIES):
            statement = await self._statement(lane, seen, step)
            try:
                consent = await self._consents.countersign(lane.iss, statement.token)
            except ConflictError as error:
                _LOG.info("epoch %d of %s does not follow: %s", statement.epoch, lane_name(*lane), error)
                continue
            except UnavailableError:
                raise
            except HazlinkError as error:
                _LOG.error("no consent to a new epoch of %s: %s", lane_name(*lane), error)
                break
            await in_pool(self._executor, self._marks.reserve, lane_name(*lane), statement.epoch, 1)
            await in_pool(self._executor, self._recovery.open_epoch, lane, statement, consent)
            self._opened.add(lane)
            return True
        await in_pool(self._executor, self._recovery.stop_lane, lane, _STOPPED)
        return False

    async def _statement(self, lane: LaneName, seen: Situation, step: int) -> EpochStatement:
        """Return the announcement to show: the one shown before, when nothing has changed."""
        state = await self._state(lane)
        mark = await in_pool(self._executor, self._marks.lane, lane_name(*lane))
        ends = [(state.epoch, state.next_seq - 1)] if state is not None else [(1, 0)]
        reached = seen.reached.get(lane)
        if reached is not None and reached.place[0]:
            ends.append(reached.place)
        if mark is not None and not self._consents.reaches(lane):
            # its receiver may be in an epoch that nobody else remembers
            ends.append((mark.epoch, 0))
        old, last = max(ends)
        if step:
            old, last = old + step, 0
        epoch = max(old, mark.epoch if mark is not None else 0) + 1
        known = self._asked.get(lane)
        if known is None or (known.old_epoch, known.last_seq_known, known.epoch) != (old, last, epoch):
            known = await in_pool(self._executor, self._issue, lane, (old, last), epoch)
            self._asked[lane] = known
        return known

    def _issue(self, lane: LaneName, end: tuple[int, int], epoch: int) -> EpochStatement:
        signer, _ = self._speakers.signer_for(lane.iss)
        token = epochs.issue(
            signer,
            iss=lane.iss,
            aud=lane.aud,
            stream=lane.stream,
            old_epoch=end[0],
            last_seq_known=end[1],
            epoch=epoch,
            reason="store_lost",
            iat=int(self._clock.now()),
        )
        return epochs.read(token)

    async def _state(self, lane: LaneName) -> LaneState | None:
        return await in_pool(self._executor, self._recovery.lane, lane)
