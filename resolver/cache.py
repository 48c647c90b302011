"""What is remembered of other nodes' answers: what is, what is not, what failed, and how far a record had come.

Rules (facts on identifiers, §8; DESIGN 2):

- the four memories are apart; each is bounded, and what was not asked for longest goes first;
- nothing here is on disk, nothing is believed that was not verified before;
- a failure is remembered for a short time that doubles, and is never shown as "not found";
- a stale answer is never older than its kind allows, counted from when it left its owner, and never one about a
  record that is known to be withdrawn;
- the high-water mark of an identifier outlives the answer: an older version, another status of the same version, or
  "not found" after a record was seen, is a lie: records are never taken away without a tombstone.

All of it belongs to one event loop; there are no locks.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from registry.errors import HazlinkError, UntrustedError
from registry.identifier import Prefix
from registry.record import Record, Status
from registry.trust.chain import VerifiedChain
from resolver.answer import Proof
from resolver.config import ResolverConfig

__all__ = ["Absence", "Bounded", "Caches", "Failure", "HighWater", "Kept"]

_T = TypeVar("_T")

#: What one value costs beside its data, and one record beside its values (measured, rounded up).
_VALUE_BYTES = 400
_RECORD_BYTES = 1_500


@dataclass(slots=True)
class Kept:
    """A verified record of another node, whole as far as it is public. Times are steady seconds.

    Attributes:
        record: its public values.
        withheld: indexes that exist and are not public.
        proof: with the chain.
        chain: the same, verified.
        authoritative: the owner itself gave it.
        left_at: when its age was 0.
        fresh_until: until when it is given as it is.
        stale_until: until when it may be given, marked, while its owner cannot be asked.
        prefetch_at: from when on it is fetched again when it is popular.
        asks: how often it was asked for.
    """

    record: Record
    withheld: tuple[int, ...]
    proof: Proof
    chain: VerifiedChain
    authoritative: bool
    left_at: float
    fresh_until: float
    stale_until: float
    prefetch_at: float
    asks: int = 1

    @property
    def cost(self) -> int:
        """Roughly the bytes it takes; the chain is shared with others."""
        values = sum(len(value.data) + _VALUE_BYTES for value in self.record.values)
        return values + len(self.proof.public_jws) + _RECORD_BYTES

    def may_be_stale(self, now: float) -> bool:
        """Say whether it may be given in its owner's absence."""
        return now <= self.stale_until and self.record.status is Status.ACTIVE


class Bounded(Generic[_T]):
    """A mapping with a limit on the sum of its entries' costs; the least recently used goes first."""

    def __init__(self, limit: int, cost: Callable[[_T], int] | None = None) -> None:
        self._limit = limit
        self._cost = cost or (lambda _: 1)
        self._entries: OrderedDict[str, _T] = OrderedDict()
        self._total = 0

    def get(self, key: str) -> _T | None:
        """Return an entry, which thereby counts as used."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: str, entry: _T) -> None:
        """Keep an entry in place of an older one."""
        self.drop(key)
        cost = self._cost(entry)
        if cost > self._limit:
            return
        self._entries[key] = entry
        self._total += cost
        while self._total > self._limit:
            _, old = self._entries.popitem(last=False)
            self._total -= self._cost(old)

    def drop(self, key: str) -> _T | None:
        """Forget an entry and return it."""
        old = self._entries.pop(key, None)
        if old is not None:
            self._total -= self._cost(old)
        return old

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._total = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


@dataclass(frozen=True, slots=True)
class Absence:
    """Since when and until when it is known that there is no such record."""

    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed, until when it is not tried again, and how often it failed in a row."""

    error: HazlinkError
    until: float
    times: int


@dataclass(frozen=True, slots=True)
class HighWater:
    """The newest version of a record that was ever verified here."""

    version: int
    status: Status


class Caches:
    """The memories of one resolver."""

    def __init__(self, config: ResolverConfig) -> None:
        self._config = config
        self.positive: Bounded[Kept] = Bounded(config.positive_bytes, lambda kept: kept.cost)
        self._negative: Bounded[Absence] = Bounded(config.negative_entries)
        self._failures: Bounded[Failure] = Bounded(config.failure_entries)
        self._marks: Bounded[HighWater] = Bounded(config.high_water_entries)

    def keep(self, key: str, kept: Kept, now: float) -> bool:
        """Keep a verified record; say whether it is news about a record that was known.

        Raises:
            UntrustedError: the record had come further than this.
        """
        record = kept.record
        self.check(key, record)
        before = self._marks.get(key)
        self._marks.put(key, HighWater(record.version, record.status))
        self._negative.drop(key)
        self._failures.drop(key)
        old = self.positive.drop(key)
        if kept.fresh_until > now:
            kept.asks = 1
            self.positive.put(key, kept)
        changed = before is not None and before.version != record.version
        return changed or (old is not None and old.proof.public_jws != kept.proof.public_jws)

    def check(self, key: str, record: Record | None) -> None:
        """Hold an answer against the high-water mark; None stands for "not found".

        Raises:
            UntrustedError: the record had come further than this.
        """
        mark = self._marks.get(key)
        if mark is None:
            return
        if record is None:
            raise UntrustedError("resolver.walk.vanished", field="outcome", value=key, version=mark.version)
        if record.version < mark.version or (
            record.version == mark.version and record.status is not mark.status
        ):
            raise UntrustedError(
                "resolver.walk.replayed",
                field="record.version",
                value=key,
                version=record.version,
                status=record.status.name.lower(),
                seen=mark.version,
                seen_status=mark.status.name.lower(),
            )

    def last_seen(self, key: str) -> HighWater | None:
        """Return the newest version that was ever verified here."""
        return self._marks.get(key)

    def keep_missing(self, key: str, ttl: float, now: float) -> None:
        """Remember that there is no such record.

        Raises:
            UntrustedError: a record was seen under this key.
        """
        self.check(key, None)
        self._failures.drop(key)
        ttl = min(ttl, self._config.negative_greatest_seconds)
        if ttl > 0:
            self._negative.put(key, Absence(since=now, until=now + ttl))

    def missing(self, key: str, now: float) -> Absence | None:
        """Return the knowledge that there is no such record, while it lasts."""
        found = self._negative.get(key)
        if found is not None and found.until <= now:
            self._negative.drop(key)
            return None
        return found

    def fail(self, name: str, error: HazlinkError, now: float, *, grow: bool = True) -> None:
        """Remember a failure of a key or an endpoint; each one in a row for twice as long, if it is to grow."""
        before = self._failures.get(name) if grow else None
        times = before.times + 1 if before else 1
        first, most = self._config.failure_first_seconds, self._config.failure_greatest_seconds
        # who asks to be left alone for a while is, within the same limit
        lasts = min(max(first * 2.0 ** min(times - 1, 30), error.retry_after or 0), most)
        self._failures.put(name, Failure(error, now + lasts, times))

    def failure(self, name: str, now: float) -> Failure | None:
        """Return the failure that is too fresh to try again."""
        found = self._failures.get(name)
        return found if found is not None and found.until > now else None

    def recover(self, name: str) -> None:
        """Forget the failures of a key or an endpoint."""
        self._failures.drop(name)

    def drop(self, key: str) -> None:
        """Forget the answers about a key: it changed. Its high-water mark stays."""
        self.positive.drop(key)
        self._negative.drop(key)
        self._failures.drop(key)

    def drop_below(self, prefix: Prefix) -> None:
        """Forget the answers about a prefix and those below it."""
        for key in list(self.positive):
            head = key.partition("/")[0]
            if head == prefix.key or head.startswith(f"{prefix.key}."):
                self.drop(key)

    def clear(self) -> None:
        """Forget every answer and failure; the high-water marks stay."""
        self.positive.clear()
        self._negative.clear()
        self._failures.clear()
