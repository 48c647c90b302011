"""What is measured of resolution and registration: counted in memory, added to the database now and then.

The resolver's and the registry's doors call `resolved` and `registered`; a timer calls `flush`. Figures stand by
homed prefix and by day in China. What was counted and not yet flushed when a process dies is lost: these are
figures, not evidence.
"""

import threading
from dataclasses import dataclass, fields

from federation.content.policy import day_of
from federation.content.storage.measures import Measure, MeasureUnit
from registry.clock import Clock
from registry.identifier import Prefix
from registry.storage.engine import Database

__all__ = ["Meter"]

#: Addresses told apart for each prefix and day in memory; the rest is counted together.
_MAX_ASKERS = 500
_OTHERS = "others"
_MAX_ADDRESS = 64


@dataclass(slots=True)
class _Count:
    """One growing count: changed in place, because it stands on the way of every answer."""

    count: int = 0
    good: int = 0
    total_ms: float = 0.0
    max_ms: float = -1.0
    max_at: int = 0
    min_ms: float = float("inf")
    min_at: int = 0
    peak: int = 0
    peak_at: int = 0
    second: int = 0
    in_second: int = 0

    def add(self, good: bool, milliseconds: float, at: int) -> None:
        self.count += 1
        self.good += good
        self.total_ms += milliseconds
        if milliseconds > self.max_ms:
            self.max_ms, self.max_at = milliseconds, at
        if milliseconds < self.min_ms:
            self.min_ms, self.min_at = milliseconds, at
        if at != self.second:
            self.second, self.in_second = at, 0
        self.in_second += 1
        if self.in_second > self.peak:
            self.peak, self.peak_at = self.in_second, at

    def measure(self) -> Measure:
        return Measure(*(getattr(self, one.name) for one in fields(Measure)))


class Meter:
    """Counts.

    Consistency: `flush` moves what was counted so far. Durability: what was flushed. Concurrency: any number of
    threads; counting takes a lock for a moment and never touches the database. Errors: `flush` raises
    UnavailableError, and then nothing counted is lost.
    """

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str], _Count] = {}
        self._askers: dict[tuple[str, str], dict[str, int]] = {}
        self._minute = -1
        self._day = ""

    def resolved(self, home: Prefix, *, found: bool, seconds: float, address: str = "") -> None:
        """Count one answered question about an identifier of a homed prefix."""
        now = self._clock.now()
        with self._lock:
            day = self._today(now)
            self._count(home, day, "resolution").add(found, seconds * 1000, int(now))
            if address:
                askers = self._askers.setdefault((home.key, day), {})
                known = address[:_MAX_ADDRESS]
                if known not in askers and len(askers) >= _MAX_ASKERS:
                    known = _OTHERS
                askers[known] = askers.get(known, 0) + 1

    def registered(self, home: Prefix, *, good: bool, seconds: float) -> None:
        """Count one registration at a homed prefix."""
        now = self._clock.now()
        with self._lock:
            self._count(home, self._today(now), "registration").add(good, seconds * 1000, int(now))

    def flush(self) -> int:
        """Add what was counted to the database; return how many rows that touched.

        Raises:
            UnavailableError: the database cannot be written.
        """
        with self._lock:
            counts, self._counts = self._counts, {}
            askers, self._askers = self._askers, {}
        if not counts and not askers:
            return 0
        try:
            with self._database.write() as connection:
                unit = MeasureUnit(connection)
                unit.add({place: made.measure() for place, made in counts.items()})
                unit.add_askers(askers)
        except BaseException:
            self._take_back(counts, askers)
            raise
        return len(counts) + sum(len(made) for made in askers.values())

    def _today(self, now: float) -> str:
        """Return the name of the day; worked out once a minute, days begin with one."""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._day = minute, day_of(now)
        return self._day

    def _count(self, home: Prefix, day: str, kind: str) -> _Count:
        place = (home.key, day, kind)
        found = self._counts.get(place)
        if found is None:
            found = self._counts[place] = _Count()
        return found

    def _take_back(
        self, counts: dict[tuple[str, str, str], _Count], askers: dict[tuple[str, str], dict[str, int]]
    ) -> None:
        with self._lock:
            for place, made in counts.items():
                present = self._counts.get(place)
                if present is not None:
                    whole = made.measure().plus(present.measure())
                    made = _Count(*(getattr(whole, one.name) for one in fields(Measure)))  # noqa: PLW2901 — both
                self._counts[place] = made
            for where, numbers in askers.items():
                mine = self._askers.setdefault(where, {})
                for address, number in numbers.items():
                    mine[address] = mine.get(address, 0) + number
