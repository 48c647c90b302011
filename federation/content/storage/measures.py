"""Figures of resolution and registration, by homed prefix and day; added to, never replaced."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from federation.content.storage.tables import asker, measure, put_rows

__all__ = ["Measure", "MeasureUnit"]


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured; latencies in milliseconds, times in POSIX seconds, `peak` in events of one second."""

    count: int = 0
    good: int = 0
    total_ms: float = 0.0
    max_ms: float = 0.0
    max_at: int = 0
    min_ms: float = 0.0
    min_at: int = 0
    peak: int = 0
    peak_at: int = 0

    @property
    def average_ms(self) -> float:
        """The mean latency; 0 when nothing was measured."""
        return self.total_ms / self.count if self.count else 0.0

    def plus(self, other: "Measure") -> "Measure":
        """Return both together."""
        if not self.count or not other.count:
            return self if self.count else other
        most = max(self, other, key=lambda one: one.max_ms)
        least = min(self, other, key=lambda one: one.min_ms)
        busiest = max(self, other, key=lambda one: one.peak)
        return Measure(
            count=self.count + other.count,
            good=self.good + other.good,
            total_ms=self.total_ms + other.total_ms,
            max_ms=most.max_ms,
            max_at=most.max_at,
            min_ms=least.min_ms,
            min_at=least.min_at,
            peak=busiest.peak,
            peak_at=busiest.peak_at,
        )


_COLUMNS = (
    measure.c.count,
    measure.c.good,
    measure.c.total_ms,
    measure.c.max_ms,
    measure.c.max_at,
    measure.c.min_ms,
    measure.c.min_at,
    measure.c.peak,
    measure.c.peak_at,
)


class MeasureUnit:
    """The tables of figures inside somebody else's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, prefix: str, day: str, kind: str) -> Measure:
        """Return what was measured on a day."""
        asked = select(*_COLUMNS).where(
            measure.c.prefix == prefix, measure.c.day == day, measure.c.kind == kind
        )
        row = self._connection.execute(asked.with_for_update()).first()
        return Measure(*row) if row else Measure()

    def add(self, made: Mapping[tuple[str, str, str], Measure]) -> None:
        """Add figures to what stands there: by prefix, day and kind."""
        # in one order: two processes that flush at the same moment must not wait for each other
        for (prefix, day, kind), more in sorted(made.items()):
            whole = self.of(prefix, day, kind).plus(more)
            figures = {column.name: getattr(whole, column.name) for column in _COLUMNS}
            put_rows(self._connection, measure, [{"prefix": prefix, "day": day, "kind": kind, **figures}])

    def askers(self, prefix: str, day: str, limit: int) -> list[tuple[str, int]]:
        """Return where the questions of a day came from: addresses and counts, the busiest first."""
        asked = select(asker.c.address, asker.c.count).where(asker.c.prefix == prefix, asker.c.day == day)
        rows = self._connection.execute(asked.order_by(asker.c.count.desc(), asker.c.address).limit(limit))
        return [(str(address), int(number)) for address, number in rows]

    def add_askers(self, made: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
        """Add to the counts of addresses: by prefix and day."""
        for (prefix, day), numbers in sorted(made.items()):
            rows = [
                {"prefix": prefix, "day": day, "address": address, "count": number}
                for address, number in sorted(numbers.items())
            ]
            put_rows(self._connection, asker, rows, add="count")
