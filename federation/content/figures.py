"""Figures of a day: the docking tables T3 and T8, and the monitoring of a node.

Each is a day in China that is over. Figures of resolution and registration are those of
`federation.content.measuring`; prefixes and identifiers are counted where they stand.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from federation.content.dataset import Tier, tier_of
from federation.content.policy import CHINA_TIME, day_of
from federation.content.ports import HomedPrefixes
from federation.content.storage.measures import Measure, MeasureUnit
from federation.content.storage.sending import SendingUnit
from registry.delegation import DelegationState
from registry.errors import HazlinkError
from registry.identifier import Prefix
from registry.trust.statement import read

__all__ = ["Statistics"]

_MAX_SOURCES = 1_000


class Statistics:
    """Puts the tables together; each method is a `federation.content.snapshots.Rows`.

    Args:
        homes: the prefixes this node speaks for, and what it delegated.
    """

    def __init__(self, *, homes: HomedPrefixes) -> None:
        self._homes = homes

    def t3(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the figures of a secondary node: enterprise prefixes and resolutions."""
        del receiver
        if tier_of(owner) is not Tier.SECONDARY:
            return
        begin, end, day = _yesterday(now)
        below = [
            made
            for made in self._homes.delegations()
            if owner.contains(made.prefix)
            and made.prefix != owner
            and made.state is not DelegationState.REVOKED
        ]
        new = sum(begin <= first < end for first in (_issued(made.token, made.version) for made in below))
        yield self._figures(connection, owner, day, new=new, total=len(below))

    def t8(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the figures of an enterprise: identifiers and resolutions."""
        del receiver
        if tier_of(owner) is not Tier.ENTERPRISE:
            return
        begin, end, day = _yesterday(now)
        unit = SendingUnit(connection)
        new = unit.count_registered(owner, begin, end)
        yield self._figures(connection, owner, day, new=new, total=unit.count_records(owner))

    def node(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return latencies and the greatest rate."""
        del receiver
        _, _, day = _yesterday(now)
        unit = MeasureUnit(connection)
        resolution, registration = (unit.of(owner.key, day, kind) for kind in ("resolution", "registration"))
        made: dict[str, Any] = {"key": f"{owner.key}@{day}", "prefix": owner.key, "day": day}
        if resolution.count:
            made["resolution"] = _latency(resolution)
            made["peak"] = {"per_second": resolution.peak, "at": resolution.peak_at}
        if registration.count:
            made["registration"] = _latency(registration)
        yield made

    def _figures(self, connection: Any, owner: Prefix, day: str, *, new: int, total: int) -> dict[str, Any]:
        unit = MeasureUnit(connection)
        measured = unit.of(owner.key, day, "resolution")
        return {
            "key": f"{owner.key}@{day}",
            "prefix": owner.key,
            "day": day,
            "new": new,
            "total": total,
            "queries": measured.count,
            "successes": measured.good,
            "sources": [
                {"address": address, "count": count}
                for address, count in unit.askers(owner.key, day, _MAX_SOURCES)
            ],
        }


def _yesterday(now: float) -> tuple[int, int, str]:
    """Return begin and end (POSIX seconds) and the name of the last day in China that is over."""
    midnight = datetime.fromtimestamp(now, CHINA_TIME).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = midnight - timedelta(days=1)
    return int(begin.timestamp()), int(midnight.timestamp()), day_of(begin.timestamp())


def _issued(token: str, version: int) -> int:
    """Return when a delegation was first made, as far as its statement tells: later versions say when they were."""
    if version > 1:
        return 0
    try:
        return read(token).iat
    except HazlinkError:
        return 0


def _latency(measured: Measure) -> dict[str, Any]:
    return {
        "avg_ms": round(measured.average_ms, 3),
        "max_ms": round(measured.max_ms, 3),
        "max_at": measured.max_at,
        "min_ms": round(measured.min_ms, 3),
        "min_at": measured.min_at,
    }
