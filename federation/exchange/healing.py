"""After a restore: find out what the peers know, take it back, and only then receive, log and sign again.

Rules (facts on federation, (b) "Restore from backup"):

1. at the start of each term of office mark file, database and the witnesses' view of the log are compared
   (`assessing`); what is consistent runs at once, after a short look at what the receivers have;
2. a log that is behind gets its leaves back from the mirror of a witness, the same bytes at the same places, and must
   come to the root that was signed; if it cannot, the log is closed and another opened under another key;
3. a lane that is behind gets its envelopes back from its receiver, which holds the signed bytes and gave receipts;
4. where nobody has them, where the receiver cannot be asked, and where the log is lost, the lane goes on in a new
   epoch, which the superior countersigns. No number is signed twice;
5. until all of that is done nothing is received either: a leaf of today would stand where another was signed;
6. while a peer that must be asked cannot be reached, the node waits and says so.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from federation.exchange import epoch as epochs
from federation.exchange.assessing import BEHIND, Assessment, assess
from federation.exchange.healing_log import LogHealing
from federation.exchange.recovery import Reached, Recovery
from federation.exchange.returning import Returned
from federation.exchange.sealing import Speakers
from federation.exchange.storage.sending import LaneName, LaneState
from federation.exchange.streams import STREAMS
from federation.marks.content import LaneMark, lane_name
from federation.marks.file import MarkFile
from registry.clock import Clock
from registry.errors import ConflictError, HazlinkError, MalformedError, UnavailableError, UntrustedError
from registry.identifier import Prefix
from resolver.pool import in_pool

__all__ = ["Healed", "Healer", "Receivers"]

_LOG = logging.getLogger("federation.exchange.healing")
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
_WATCH_SECONDS = 10.0
_GLANCE_SECONDS = 5.0
_GLANCE_LANES = 64
_STOPPED = "epoch_needed"
#: How the refusal of a peer is called, whatever its reason.
_REFUSED = "federation.exchange_sending.refused"


class Receivers(Protocol):
    """The receivers of this node's lanes, as far as it can connect to them.

    Consistency: none; what comes back is verified. Concurrency: any number of tasks. Errors: HazlinkError when one
    does not answer, or refuses.
    """

    def reaches(self, lane: LaneName) -> bool:
        """Say whether the receiver of a lane is another node that this one connects to."""
        ...

    def superiors(self) -> list[tuple[Prefix, Prefix]]:
        """Return (own prefix, superior) for every prefix whose superior is another node's."""
        ...

    async def sent(self, lane: LaneName, epoch: int, after: int) -> Sequence[Returned]:
        """Return envelopes of ours behind number `after` of an epoch, in order; nothing at the end."""
        ...

    async def countersign(self, iss: Prefix, statement: str) -> str:
        """Get the consent of the superior of `iss` to a new epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Healed:
    """What a healing came to.

    Attributes:
        leaves: how many came back from a witness.
        envelopes: how many came back from receivers.
        epochs: lanes that go on in a new epoch.
        new_log: the log could not be rebuilt, and another was opened.
        stopped: lanes that stay stopped, because their superior did not consent to a new epoch.
    """

    leaves: int = 0
    envelopes: int = 0
    epochs: tuple[LaneName, ...] = ()
    new_log: bool = False
    stopped: tuple[LaneName, ...] = ()


@dataclass(frozen=True, slots=True)
class _Picture:
    """What one healing works with."""

    found: Assessment
    lanes: Mapping[LaneName, LaneState]
    marks: Mapping[LaneName, LaneMark]
    reached: Mapping[LaneName, Reached]
    log_lost: bool

    def history(self, lane: LaneName) -> bool:
        """Say whether something may have been signed on a lane."""
        return lane in self.lanes or lane in self.marks or lane in self.reached


class Healer:
    """Makes a restored node whole. Owner of the state: the event loop of the elected process.

    Consistency: what it wrote stays right when it is interrupted and begins again. Errors: as said at each method.
    """

    def __init__(
        self,
        *,
        recovery: Recovery,
        marks: MarkFile,
        log: LogHealing,
        receivers: Receivers,
        speakers: Speakers,
        renew_log: Callable[[], None],
        clock: Clock,
        executor: Executor,
    ) -> None:
        """Take the parts.

        Args:
            recovery: reads and repairs the books.
            marks: the mark file, whose fence this process holds.
            log: gets leaves back from witnesses.
            receivers: whom it sends to.
            speakers: the keys of the homed prefixes.
            renew_log: closes the log and opens another with another key; blocking.
            clock: the time.
            executor: where blocking calls run.
        """
        self._recovery = recovery
        self._marks = marks
        self._log = log
        self._receivers = receivers
        self._speakers = speakers
        self._renew_log = renew_log
        self._clock = clock
        self._executor = executor
        self._problem: HazlinkError | None = None

    async def check(self) -> HazlinkError | None:
        """Say what keeps the node from being whole; for the health report."""
        return self._problem

    async def run(self, fence: int) -> Healed:
        """Heal, and try again as long as it takes.

        Raises:
            ConflictError: another process has taken over.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                done = await self.heal(fence)
            except HazlinkError as error:
                # a peer that hears another copy of this node refuses us: no reason to stand for office again, since
                # with a higher fence this copy would push the other one out, and that one this
                if isinstance(error, ConflictError) and error.code != _REFUSED:
                    raise
                if self._problem is None or self._problem.code != error.code:
                    _LOG.warning("not whole yet: %s", error)
                self._problem = error
                await self._clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                self._problem = None
                return done

    async def keep(self, fence: int) -> None:
        """Watch for lanes whose receiver turns out to know more, and heal those; until cancelled.

        Raises:
            ConflictError: another process has taken over.
        """
        while True:
            await self._clock.sleep(_WATCH_SECONDS)
            lanes = await in_pool(self._executor, self._recovery.lanes)
            if any(state.failure == BEHIND for state in lanes):
                await self.run(fence)

    async def heal(self, fence: int) -> Healed:
        """Compare, and heal once.

        Args:
            fence: of this term of office.

        Raises:
            UnavailableError: a peer that must be asked does not answer.
            ConflictError: another process has taken over.
        """
        content = await in_pool(self._executor, self._marks.content)
        witnessed = await self._log.witnessed(required=not content.sure)
        lanes = await in_pool(self._executor, self._recovery.lanes)
        size = await in_pool(self._executor, self._recovery.log_size)
        found = assess(content, lanes, origin=self._log.origin, size=size, witnessed=witnessed)
        done = Healed()
        if found.consistent and not await in_pool(self._executor, self._recovery.under_way):
            done = Healed(envelopes=await self._glance(lanes))
        else:
            _LOG.warning("the database is behind: %s", found)
            done = await self._heal(found, content.lanes)
        await in_pool(self._executor, self._marks.settle)
        await in_pool(self._executor, self._recovery.finish, fence)
        return done

    async def _heal(self, found: Assessment, marked: Mapping[str, LaneMark]) -> Healed:
        await in_pool(self._executor, self._recovery.begin_log)
        leaves, log_lost = 0, False
        if found.log is not None:
            came = await self._log.rebuild(found.log)
            leaves, log_lost = came or 0, came is None
        reached = await in_pool(self._executor, self._recovery.scan_log)
        known = await in_pool(self._executor, self._recovery.lanes)
        picture = _Picture(
            found=found,
            lanes={state.lane: state for state in known},
            marks={_lane_of(name): mark for name, mark in marked.items()},
            reached=reached,
            log_lost=log_lost,
        )
        if log_lost:
            await in_pool(self._executor, self._renew_log)
        envelopes = 0
        renewed: list[LaneName] = []
        stopped: list[LaneName] = []
        for lane in sorted(self._concerned(picture)):
            broken = False
            if self._receivers.reaches(lane):
                try:
                    envelopes += await self._fetch(lane, picture)
                except (UntrustedError, MalformedError) as error:
                    # whatever it was given back is not this lane: the lane cannot go on where it was
                    _LOG.error("lane %s does not come back: %s", lane_name(*lane), error)
                    broken = True
            if broken or await self._needs_epoch(lane, picture):
                (renewed if await self._begin_again(lane, picture) else stopped).append(lane)
        return Healed(leaves, envelopes, tuple(renewed), log_lost, tuple(stopped))

    # lanes

    def _concerned(self, picture: _Picture) -> set[LaneName]:
        """Return the lanes to look after: all of them, unless only single ones were found behind."""
        found = picture.found
        if found.sure and found.log is None and not picture.reached and found.lanes:
            return {_lane_of(name) for name in found.lanes}
        above = {LaneName(own, top, stream) for own, top in self._receivers.superiors() for stream in STREAMS}
        return {*picture.lanes, *picture.marks, *picture.reached, *above}

    async def _fetch(self, lane: LaneName, picture: _Picture) -> int:
        """Take a lane back from its receiver; return how many envelopes came."""
        state, mark, reached = picture.lanes.get(lane), picture.marks.get(lane), picture.reached.get(lane)
        epoch, after = (state.epoch, state.acked_seq) if state is not None else (1, 0)
        last = max(epoch, mark.epoch if mark else 0, reached.place[0] if reached else 0)
        if not picture.found.sure:
            last += 1  # an epoch nobody here remembers
        came = 0
        while epoch <= last:
            returned = await self._receivers.sent(lane, epoch, after)
            if not returned:
                epoch, after = epoch + 1, 0
                continue
            place = await in_pool(self._executor, self._recovery.take_back, lane, returned)
            if place <= (epoch, after):
                raise UntrustedError("federation.exchange_healing.no_progress", field="seq", value=str(place))
            came += len(returned)
            epoch, after = place
            await in_pool(self._executor, self._marks.reserve, lane_name(*lane), epoch, after)
        return came

    async def _needs_epoch(self, lane: LaneName, picture: _Picture) -> bool:
        if not picture.history(lane):
            return False
        if picture.log_lost or not self._receivers.reaches(lane):
            return True
        states = await in_pool(self._executor, self._recovery.lanes)
        state = next((state for state in states if state.lane == lane), None)
        here = (state.epoch, state.next_seq - 1) if state is not None else (0, 0)
        reached = picture.reached.get(lane)
        return reached is not None and reached.place > here

    async def _begin_again(self, lane: LaneName, picture: _Picture) -> bool:
        """Open a new epoch; False when the superior does not consent."""
        states = await in_pool(self._executor, self._recovery.lanes)
        state = next((state for state in states if state.lane == lane), None)
        statement = await in_pool(self._executor, self._statement, lane, state, picture)
        try:
            consent = await self._receivers.countersign(lane.iss, statement.token)
        except UnavailableError:
            raise
        except HazlinkError as error:
            _LOG.error("no consent to a new epoch of %s: %s", lane_name(*lane), error)
            await in_pool(self._executor, self._recovery.stop_lane, lane, _STOPPED)
            return False
        await in_pool(self._executor, self._marks.reserve, lane_name(*lane), statement.epoch, 1)
        await in_pool(self._executor, self._recovery.open_epoch, lane, statement, consent)
        return True

    def _statement(self, lane: LaneName, state: LaneState | None, picture: _Picture) -> epochs.EpochStatement:
        mark, reached = picture.marks.get(lane), picture.reached.get(lane)
        ends = [(state.epoch, state.next_seq - 1)] if state is not None else [(1, 0)]
        if reached is not None and reached.place[0]:
            ends.append(reached.place)
        if mark is not None and not self._receivers.reaches(lane):
            # its receiver may be in an epoch that nobody else remembers
            ends.append((mark.epoch, 0))
        old, last = max(ends)
        signer, _ = self._speakers.signer_for(lane.iss)
        token = epochs.issue(
            signer,
            iss=lane.iss,
            aud=lane.aud,
            stream=lane.stream,
            old_epoch=old,
            last_seq_known=last,
            epoch=max(old, mark.epoch if mark is not None else 0) + 1,
            reason="store_lost",
            iat=int(self._clock.now()),
        )
        return epochs.read(token)

    async def _glance(self, lanes: Iterable[LaneState]) -> int:
        """Ask receivers in passing, where marks and log are consistent: what they know is taken over."""
        asked = [state for state in lanes if self._receivers.reaches(state.lane)][:_GLANCE_LANES]
        came = 0
        try:
            async with asyncio.timeout(_GLANCE_SECONDS):
                for state in asked:
                    returned = await self._receivers.sent(state.lane, state.epoch, state.acked_seq)
                    while returned:
                        epoch, after = await in_pool(
                            self._executor, self._recovery.take_back, state.lane, returned
                        )
                        name = lane_name(*state.lane)
                        await in_pool(self._executor, self._marks.reserve, name, epoch, after)
                        came += len(returned)
                        returned = await self._receivers.sent(state.lane, epoch, after)
        except (HazlinkError, TimeoutError) as error:
            if isinstance(error, ConflictError):
                raise
            _LOG.info("receivers were not asked: %s", error)
        return came


def _lane_of(name: str) -> LaneName:
    iss, aud, stream = name.split("|")
    return LaneName(Prefix.parse(iss), Prefix.parse(aud), stream)
