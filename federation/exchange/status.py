"""How the exchange stands: what waits, what is missing, what is wrong, and whether the node may call itself ready.

Rules (facts on federation, (b) "Flow", (e), (f) row 25):

- the lag of a lane is its sender's signed head minus the position here, never the receiver's own opinion; where heads
  no longer come it is unknown, and where heads come but for minutes no envelope it is hidden;
- red: a key that cannot be used, a log writer that stands still, a hidden lag, a lane that stopped, a disk nearly
  full, something unsent for too long; amber: what will become red if nobody looks;
- a report says why in both languages; readiness goes with those red reasons that concern the whole node.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from federation.exchange.config import ExchangeConfig
from federation.exchange.rotating import require_in_life
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.rows import LaneRow
from federation.exchange.storage.sending import LaneState, SendingUnit
from federation.exchange.storage.sending_proofs import ProofUnit
from federation.log.reading import LogReader, LogState
from registry.clock import Clock
from registry.delegation import Home, HomeState
from registry.errors import HazlinkError, UnavailableError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.keys import Signer
from registry.trust.statement import read

__all__ = ["ExchangeStatus", "Level", "Principals", "Reason", "Receiving", "Report", "Sending"]

_DAY = 86_400
_STUCK_SECONDS = 60


class Level(StrEnum):
    """How bad it is."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class Principals(Protocol):
    """The prefixes of this node; `registry.prefixes.homes.Homes` is one. Concurrency: any number of threads."""

    def all(self) -> tuple[Home, ...]:
        """Return every homed or asked-for prefix."""
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for it, leaf first."""
        ...

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """Return its key.

        Raises:
            HazlinkError: it cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is not as it should be.

    Attributes:
        level: amber or red.
        error: says it in both languages.
        whole: it concerns the node as a whole, so a red one makes it not ready.
    """

    level: Level
    error: HazlinkError
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Sending:
    """A lane of this node.

    Attributes:
        state: as stored.
        oldest_at: POSIX seconds at which its oldest envelope without a receipt was queued.
    """

    state: LaneState
    oldest_at: int | None


@dataclass(frozen=True, slots=True)
class Receiving:
    """A lane that leads here.

    Attributes:
        lane: as stored.
        lag: envelopes its sender has signed for and that are not here; None: no head came yet.
        taken_at: POSIX seconds of the newest envelope taken in.
        silent: the sender's head is old: the lag may be larger.
        hidden: heads come, say there is more, and nothing is taken in.
    """

    lane: LaneRow
    lag: int | None
    taken_at: int | None
    silent: bool
    hidden: bool


@dataclass(frozen=True, slots=True)
class Report:
    """How the exchange stands at one moment.

    Attributes:
        at: POSIX seconds.
        pending: drafts that wait for a number; since when the oldest does (`pending_at`).
        unsendable: drafts that were set aside.
        unproven: receipts whose leaf is not proven yet.
        unapplied: envelopes that were accepted and wait for a handler.
        conflicts: equivocations of others.
        skews: seconds by which the clocks of others are ahead of ours.
        disk: part of the disk in use.
    """

    at: int
    sending: tuple[Sending, ...]
    receiving: tuple[Receiving, ...]
    pending: int
    pending_at: int | None
    unsendable: int
    unproven: int
    unapplied: int
    conflicts: int
    log: LogState
    skews: Mapping[str, float]
    disk: float
    reasons: tuple[Reason, ...] = ()

    @property
    def level(self) -> Level:
        """The worst of the reasons."""
        levels = {reason.level for reason in self.reasons}
        return Level.RED if Level.RED in levels else Level.AMBER if levels else Level.GREEN

    def numbers(self) -> dict[str, float]:
        """Return the present numbers for the metrics."""
        oldest = [one.oldest_at for one in self.sending if one.oldest_at is not None]
        if self.pending_at is not None:
            oldest.append(self.pending_at)
        return {
            "exchange_unsent": sum(one.state.unsent for one in self.sending),
            "exchange_oldest_unsent_seconds": max(0, self.at - min(oldest)) if oldest else 0,
            "exchange_pending": self.pending,
            "exchange_unsendable": self.unsendable,
            "exchange_rejected": sum(one.state.rejected for one in self.sending),
            "exchange_stopped_lanes": sum(one.state.state != "open" for one in self.sending),
            "exchange_lag": sum(one.lag or 0 for one in self.receiving),
            "exchange_silent_lanes": sum(one.silent for one in self.receiving),
            "exchange_unproven": self.unproven,
            "exchange_unapplied": self.unapplied,
            "exchange_conflicts": self.conflicts,
            "exchange_skew_seconds": max((abs(skew) for skew in self.skews.values()), default=0.0),
            "exchange_disk_share": self.disk,
            "exchange_level": [Level.GREEN, Level.AMBER, Level.RED].index(self.level),
        }


class ExchangeStatus:
    """Looks at everything and says what is wrong.

    Consistency: one snapshot of the database for each report. Concurrency: any number of threads. Errors:
    UnavailableError when the database cannot be read.
    """

    def __init__(
        self,
        *,
        database: Database,
        homes: Principals,
        log: LogReader,
        writer_stopped: Callable[[], HazlinkError | None],
        skews: Callable[[], Mapping[str, float]],
        disk: Callable[[], float],
        clock: Clock,
        config: ExchangeConfig,
        besides: Callable[[], Sequence[Reason]] = tuple,
    ) -> None:
        """Take the parts.

        Args:
            database: where everything is kept.
            homes: the prefixes of this node and their keys.
            log: the node's log.
            writer_stopped: says why the writer of the log stopped, if it did; None in a process that is not elected.
            skews: by prefix, seconds by which others' clocks are ahead.
            disk: part of the disk of the data folder in use, 0 to 1.
            clock: the time.
            config: where amber and red begin.
            besides: reasons of those who stand above the exchange.
        """
        self._besides = besides
        self._database = database
        self._homes = homes
        self._log = log
        self._writer_stopped = writer_stopped
        self._skews = skews
        self._disk = disk
        self._clock = clock
        self._config = config
        # published size of the log, and since when more than that waits
        self._waiting: tuple[int, float] | None = None
        # by lane that leads here: where it stood, and since when
        self._lagging: dict[tuple[str, str, str], tuple[tuple[int, int], float]] = {}

    def check(self) -> HazlinkError | None:
        """Return why the node is not ready, as far as the exchange goes; for the health report.

        Raises:
            UnavailableError: the database cannot be read.
        """
        wrong = [reason for reason in self.report().reasons if reason.level is Level.RED and reason.whole]
        return wrong[0].error if wrong else None

    def report(self) -> Report:
        """Look at everything.

        Raises:
            UnavailableError: the database cannot be read.
        """
        now = int(self._clock.now())
        with self._database.read() as connection:
            unit, received = SendingUnit(connection), ReceivedUnit(connection)
            proofs = ProofUnit(connection)
            states = unit.lanes()
            report = Report(
                at=now,
                sending=tuple(Sending(state, unit.oldest_unsent(state)) for state in states),
                receiving=tuple(self._receiving(proofs, lane, now) for lane in received.lanes()),
                pending=unit.count_pending(),
                pending_at=unit.oldest_pending(),
                unsendable=unit.count_unsendable(),
                unproven=proofs.count_unproven(),
                unapplied=received.count_waiting(),
                conflicts=len(received.conflicts()),
                log=self._log.state(),
                skews=self._skews(),
                disk=self._disk(),
            )
        reasons = [
            *self._keys(now),
            *self._writing(report),
            *self._outgoing(report),
            *self._incoming(report),
            *self._around(report),
            *self._besides(),
        ]
        return replace(report, reasons=tuple(reasons))

    def _receiving(self, proofs: ProofUnit, lane: LaneRow, now: int) -> Receiving:
        taken_at = proofs.taken_at((lane.iss, lane.aud, lane.stream), lane.epoch, lane.next_seq - 1)
        if lane.head_epoch is None or lane.head_seq is None or lane.head_at is None:
            return Receiving(lane, None, taken_at, silent=False, hidden=False)
        lag = 0
        if lane.head_epoch == lane.epoch:
            lag = max(0, lane.head_seq - (lane.next_seq - 1))
        elif lane.head_epoch > lane.epoch:
            lag = lane.head_seq
        limit = self._config.head_silent_seconds
        silent = now - lane.head_at > limit
        since = self._standing((lane.iss, lane.aud, lane.stream), (lane.epoch, lane.next_seq), lag)
        hidden = not silent and self._clock.monotonic() - since > limit
        return Receiving(lane, lag, taken_at, silent=silent, hidden=hidden)

    def _standing(self, name: tuple[str, str, str], place: tuple[int, int], lag: int) -> float:
        """Return since when a lane with a lag was seen at this place; now when it moves or lacks nothing."""
        moment = self._clock.monotonic()
        known = self._lagging.get(name)
        if lag and known is not None and known[0] == place:
            return known[1]
        self._lagging[name] = (place, moment)
        return moment

    def _keys(self, now: int) -> list[Reason]:
        reasons = []
        for home in self._homes.all():
            if home.state is not HomeState.ACTIVE:
                continue
            try:
                signer, _ = self._homes.signer_for(home.prefix)
                require_in_life(self._homes.chain(home.prefix), signer.kid, now)
            except HazlinkError as error:
                reasons.append(
                    _reason(
                        Level.RED,
                        "key",
                        prefix=home.prefix.key,
                        why_zh=error.message("zh"),
                        why_en=str(error),
                    )
                )
            ends = [read(token).exp for token in self._homes.chain(home.prefix)]
            left = min(ends, default=now + _DAY * _DAY) - now
            if left <= 0:
                reasons.append(_reason(Level.RED, "expired", prefix=home.prefix.key))
            elif left < self._config.key_amber_days * _DAY:
                reasons.append(_reason(Level.AMBER, "expires", prefix=home.prefix.key, days=left // _DAY))
        return reasons

    def _writing(self, report: Report) -> list[Reason]:
        stopped = self._writer_stopped()
        if stopped is not None:
            words: dict[str, Any] = {"why_zh": stopped.message("zh"), "why_en": str(stopped)}
            return [_reason(Level.RED, "writer", **words)]
        log, moment = report.log, self._clock.monotonic()
        if log.size <= log.published:
            self._waiting = None
        elif self._waiting is None or self._waiting[0] != log.published:
            self._waiting = (log.published, moment)
        elif moment - self._waiting[1] > _STUCK_SECONDS:
            return [_reason(Level.RED, "stuck", leaves=log.size - log.published)]
        return []

    def _outgoing(self, report: Report) -> list[Reason]:
        reasons = []
        for one in report.sending:
            state, lane = one.state, one.state.lane
            words: dict[str, Any] = {
                "iss": lane.iss.key,
                "aud": lane.aud.key,
                "stream": lane.stream,
                "code": state.failure or "-",
                "count": state.unsent,
            }
            if state.state != "open":
                reasons.append(_reason(Level.RED, "stopped", whole=False, **words))
            age = report.at - one.oldest_at if one.oldest_at is not None else 0
            if age > self._config.amber_unsent_seconds:
                level = Level.RED if age > self._config.red_unsent_seconds else Level.AMBER
                reasons.append(_reason(level, "unsent", minutes=age // 60, **words))
        waited = report.at - report.pending_at if report.pending_at is not None else 0
        if waited > self._config.amber_unsent_seconds:
            reasons.append(_reason(Level.AMBER, "pending", count=report.pending, minutes=waited // 60))
        if report.unsendable:
            reasons.append(_reason(Level.AMBER, "unsendable", count=report.unsendable))
        return reasons

    def _incoming(self, report: Report) -> list[Reason]:
        reasons = []
        for one in report.receiving:
            lane = one.lane
            words: dict[str, Any] = {
                "iss": lane.iss,
                "aud": lane.aud,
                "stream": lane.stream,
                "count": one.lag or 0,
            }
            if one.hidden:
                reasons.append(_reason(Level.RED, "hidden", **words))
            elif one.silent:
                reasons.append(
                    _reason(Level.AMBER, "silent", minutes=(report.at - (lane.head_at or 0)) // 60, **words)
                )
            elif (one.lag or 0) > self._config.amber_lag:
                reasons.append(_reason(Level.AMBER, "lag", **words))
        if report.conflicts:
            reasons.append(_reason(Level.RED, "conflicts", whole=False, count=report.conflicts))
        return reasons

    def _around(self, report: Report) -> list[Reason]:
        reasons = []
        for name, skew in sorted(report.skews.items()):
            if abs(skew) > self._config.skew_seconds:
                reasons.append(_reason(Level.AMBER, "skew", prefix=name, seconds=round(skew)))
        if report.disk > self._config.disk_amber_share:
            level = Level.RED if report.disk > self._config.disk_red_share else Level.AMBER
            reasons.append(_reason(level, "disk", percent=round(report.disk * 100)))
        return reasons


def _reason(level: Level, code: str, /, *, whole: bool = True, **params: Any) -> Reason:
    return Reason(level, UnavailableError(f"federation.exchange_status.{code}", **params), whole)
