"""After a restore: find out what the peers know, take it back, and only then receive, log and sign again.

Rules (facts on federation, (b) "Restore from backup"):

1. at the start of each term of office mark file, database and the witnesses' view of the log are compared
   (`assessing`); what is consistent runs at once, after a short look at what the receivers have. A database that
   `hazlink restore` filled is never consistent, nor is one whose receivers give back what it does not know;
2. before anything is signed the superiors are asked which keys they name (`confirm`): a key that was replaced after
   the backup signs nothing more;
3. a log that is behind gets its leaves back from the mirror of a witness, the same bytes at the same places, and must
   come to the root that was signed. It goes on only when it continues every checkpoint that anybody asked knows, and
   when the own mark says that there is none above; else it is closed, and another opened under another key, whose
   first leaf names the end of the old one (`federation.log.linking`);
4. a lane that is behind gets its envelopes back from its receiver, which holds the signed bytes and gave receipts;
5. where a number may have been signed that nobody gives back, the lane goes on in a new epoch, which the superior
   countersigns (`reopening`). No number is signed twice;
6. until all of that is done nothing is received either: a leaf of today would stand where another was signed;
7. while a peer that must be asked cannot be reached, the node waits and says so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias

from federation.exchange.assessing import BEHIND, Assessment, assess
from federation.exchange.healing_log import LogHealing
from federation.exchange.recovery import Recovery
from federation.exchange.reopening import Reopening, Situation
from federation.exchange.returning import Returned
from federation.exchange.sealing import Speakers
from federation.exchange.storage.sending import LaneName, LaneState
from federation.exchange.streams import STREAMS
from federation.log.merkle import EMPTY_ROOT
from federation.marks.content import CheckpointMark, Content, lane_name
from federation.marks.file import MarkFile
from registry.clock import Clock
from registry.errors import ConflictError, HazlinkError, MalformedError, UntrustedError
from registry.identifier import Prefix
from resolver.pool import in_pool

__all__ = ["Confirm", "Healed", "Healer", "Receivers"]

_LOG = logging.getLogger("federation.exchange.healing")
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
_WATCH_SECONDS = 10.0
_GLANCE_SECONDS = 5.0
_GLANCE_LANES = 64
#: Epochs above the last one known that a receiver is asked for when the marks are lost.
_BEYOND = 3
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
        new_log: the log could not go on, and another was opened.
        stopped: lanes that stay stopped, because their superior did not consent to a new epoch.
    """

    leaves: int = 0
    envelopes: int = 0
    epochs: tuple[LaneName, ...] = ()
    new_log: bool = False
    stopped: tuple[LaneName, ...] = ()


#: Makes sure that the keys of this node are those its superiors name now; raises what an operator has to be told.
Confirm: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Picture:
    """What one healing works with."""

    found: Assessment
    all: bool
    lanes: Mapping[LaneName, LaneState]
    seen: Situation


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
        renew_log: Callable[[CheckpointMark], None],
        clock: Clock,
        executor: Executor,
        confirm: Confirm | None = None,
    ) -> None:
        """Take the parts.

        Args:
            recovery: reads and repairs the books.
            marks: the mark file, whose fence this process holds.
            log: gets leaves back from witnesses.
            receivers: whom it sends to.
            speakers: the keys of the homed prefixes.
            renew_log: closes the log and opens another with another key, linked to the furthest checkpoint that is
                known of the old one; blocking.
            clock: the time.
            executor: where blocking calls run.
            confirm: makes sure of the keys; None: there is no superior to ask.
        """
        self._recovery = recovery
        self._marks = marks
        self._log = log
        self._receivers = receivers
        self._renew_log = renew_log
        self._clock = clock
        self._executor = executor
        self._confirm = confirm
        self._reopening = Reopening(
            recovery=recovery,
            marks=marks,
            consents=receivers,
            speakers=speakers,
            clock=clock,
            executor=executor,
        )
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
        lanes = await in_pool(self._executor, self._recovery.lanes)
        size = await in_pool(self._executor, self._recovery.log_size)
        restored = await self._is_restored(content, bool(lanes) or size > 0)
        asked = restored or not content.sure
        if asked:
            await self._confirm_keys()
        witnessed = await self._log.witnessed(required=asked)
        found = assess(content, lanes, origin=self._log.origin, size=size, witnessed=witnessed)
        done = Healed()
        if found.consistent and not restored:
            done = Healed(envelopes=await self._glance(lanes))
            # what came back shows that this database is older than what was signed
            restored = await in_pool(self._executor, self._recovery.under_way)
        behind = restored or not found.consistent
        if behind:
            _LOG.warning("the database is older than what was signed: %s", found)
            if not asked:
                await self._confirm_keys()
            came = await self._heal(found, content, witnessed, restored=restored)
            done = replace(came, envelopes=came.envelopes + done.envelopes)
        await in_pool(self._executor, self._marks.settle)
        await in_pool(self._executor, partial(self._recovery.finish, fence, restored=behind))
        self._reopening.done()
        return done

    async def _confirm_keys(self) -> None:
        if self._confirm is not None:
            await self._confirm()

    async def _is_restored(self, content: Content, used: bool) -> bool:
        """Say whether the database was filled from a backup, or a healing of it was not finished."""
        if await in_pool(self._executor, self._recovery.under_way):
            return True
        fresh = not (used or content.lanes or content.checkpoints)
        return not fresh and not await in_pool(self._executor, self._recovery.was_healed)

    async def _heal(
        self, found: Assessment, content: Content, witnessed: Sequence[CheckpointMark], *, restored: bool
    ) -> Healed:
        await in_pool(self._executor, self._recovery.begin_log)
        leaves, log_lost = await self._heal_log(found, content, witnessed)
        reached = await in_pool(self._executor, self._recovery.scan_log)
        if log_lost:
            await self._new_log(content, witnessed)
        known = await in_pool(self._executor, self._recovery.lanes)
        marked = {_lane_of(name): mark for name, mark in content.lanes.items()}
        picture = _Picture(
            found=found,
            all=restored or not found.sure or found.log is not None or bool(reached),
            lanes={state.lane: state for state in known},
            seen=Situation(found.sure, log_lost, reached, marked),
        )
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
            if await self._reopening.needed(lane, picture.seen, broken=broken):
                (renewed if await self._reopening.open(lane, picture.seen) else stopped).append(lane)
        return Healed(leaves, envelopes, tuple(renewed), log_lost, tuple(stopped))

    # the log

    async def _heal_log(
        self, found: Assessment, content: Content, witnessed: Sequence[CheckpointMark]
    ) -> tuple[int, bool]:
        """Get leaves back; return how many came, and whether the log cannot go on."""
        came: int | None = 0
        if found.log is not None:
            came = await self._log.rebuild(found.log)
        own = content.checkpoints.get(self._log.origin)
        if came is None:
            return 0, True
        if await self._log.contradicted([*witnessed, *([own] if own is not None else [])]) is not None:
            return came, True
        if not found.sure and own is None:
            _LOG.warning("log %s: nobody knows any more what was signed last", self._log.origin)
            return came, True
        return came, False

    async def _new_log(self, content: Content, witnessed: Sequence[CheckpointMark]) -> None:
        """Close the log and open another; with its own mark from the beginning."""
        old = self._log.origin
        own = content.checkpoints.get(old)
        known = [*witnessed, *([own] if own is not None else [])]
        last = max(known, key=lambda mark: mark.size, default=CheckpointMark(0, EMPTY_ROOT))
        await in_pool(self._executor, self._renew_log, last)
        _LOG.error("log %s is closed after %d leaves; %s begins", old, last.size, self._log.origin)
        await in_pool(self._executor, self._marks.raise_checkpoint, self._log.origin, 0, EMPTY_ROOT)

    # lanes

    def _concerned(self, picture: _Picture) -> set[LaneName]:
        """Return the lanes to look after: all of them, unless only single ones were found behind."""
        if not picture.all and picture.found.lanes:
            return {_lane_of(name) for name in picture.found.lanes}
        above = {LaneName(own, top, stream) for own, top in self._receivers.superiors() for stream in STREAMS}
        return {*picture.lanes, *picture.seen.marked, *picture.seen.reached, *above}

    async def _fetch(self, lane: LaneName, picture: _Picture) -> int:
        """Take a lane back from its receiver; return how many envelopes came."""
        seen = picture.seen
        state, mark, reached = picture.lanes.get(lane), seen.marked.get(lane), seen.reached.get(lane)
        epoch, after = (state.epoch, state.acked_seq) if state is not None else (1, 0)
        last = max(epoch, mark.epoch if mark else 0, reached.place[0] if reached else 0)
        beyond = 0 if seen.sure else _BEYOND  # epochs nobody here remembers
        came = 0
        while epoch <= last + beyond:
            returned = await self._receivers.sent(lane, epoch, after)
            if not returned:
                epoch, after = epoch + 1, 0
                continue
            place = await in_pool(self._executor, self._recovery.take_back, lane, returned)
            if place <= (epoch, after):
                raise UntrustedError("federation.exchange_healing.no_progress", field="seq", value=str(place))
            came += len(returned)
            epoch, after = place
            last = max(last, epoch)
            await in_pool(self._executor, self._marks.reserve, lane_name(*lane), epoch, after)
        return came

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
