"""Counts against what is usual: CUSUM, Poisson tails, two rates, a season, and the points where a history changed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from node.flow.models.checks import Floats, number, numbers, some, whole
from registry.errors import InvalidValueError

__all__ = ["Cusum", "CusumStep", "changes", "jump", "poisson_tail", "rate_change", "seasonal"]


@dataclass(frozen=True, slots=True)
class CusumStep:
    """The sums after one value, and whether one of them has passed the limit."""

    high: float
    low: float
    alarm: bool


class Cusum:
    """Two-sided CUSUM: `SH = max(0, x-(mu+K)+SH)`, `SL = max(0, (mu-K)-x+SL)`, alarm when one exceeds H.

    Values are taken in their order, live or from history alike. After an alarm the sums go on; `reset` begins anew.

    Raises:
        InvalidValueError: a figure is no number, or K or H is negative.
    """

    def __init__(self, mean: float, slack: float, limit: float) -> None:
        self._mean = number(mean, "mean")
        self._slack = number(slack, "slack", least=0)
        self._limit = number(limit, "limit", above=0)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._high = self._low = 0.0

    def add(self, value: float) -> CusumStep:
        """Take one value."""
        x = number(value, "value")
        self._high = max(0.0, x - (self._mean + self._slack) + self._high)
        self._low = max(0.0, (self._mean - self._slack) - x + self._low)
        return CusumStep(self._high, self._low, max(self._high, self._low) > self._limit)


def poisson_tail(count: int, mean: float) -> float:
    """Return P(X >= count) for a Poisson mean.

    Raises:
        InvalidValueError: the count is no whole number, or the mean is negative.
    """
    whole(count, "count")
    return float(stats.poisson.sf(count - 1, number(mean, "mean", least=0)))


def jump(history: Sequence[float], value: float, z: float) -> bool:
    """Say whether a value exceeds the mean of its history by more than z standard deviations (of a sample).

    Raises:
        InvalidValueError: fewer than two earlier values.
    """
    some(history, "history", 2)
    before = numbers(history, "history", least=0)
    limit = float(before.mean() + number(z, "z") * before.std(ddof=1))
    return number(value, "value", least=0) > limit


def rate_change(before: int, before_days: float, now: int, now_days: float) -> float:
    """Return the two-sided p of equal Poisson rates in two periods: given the total, the later count is binomial.

    Raises:
        InvalidValueError: a count is no whole number, or a period is empty.
    """
    total = whole(before, "before") + whole(now, "now")
    first, last = number(before_days, "before_days", above=0), number(now_days, "now_days", above=0)
    return 1.0 if total == 0 else float(stats.binomtest(now, total, last / (first + last)).pvalue)


def seasonal(counts: Sequence[float], period: int, harmonics: int = 1) -> tuple[Floats, float]:
    """Fit a quasi-Poisson regression on trend and season.

    Args:
        counts: one per day, in order.
        period: days of a season (7 for the week).
        harmonics: waves per season.

    Returns:
        the expected count of each day and of the next one, and the dispersion (1 = Poisson).

    Raises:
        InvalidValueError: less than two seasons, or nothing at all was counted.
    """
    some(counts, "counts", 2 * whole(period, "period", least=2))
    y = numbers(counts, "counts", least=0)
    if not y.any():
        raise InvalidValueError("node.flow_models.not_above", field="counts", value=0, limit=0)
    t = np.arange(len(y) + 1)
    waves = [f(2 * np.pi * h * t / period) for h in range(1, harmonics + 1) for f in (np.sin, np.cos)]
    design = np.column_stack([np.ones(len(t)), t / len(y), *waves])
    beta = np.linalg.lstsq(design[:-1], np.log(y + 0.5), rcond=None)[0]
    for _ in range(50):  # iteratively reweighted least squares
        mu = np.exp(np.clip(design[:-1] @ beta, -30, 30))
        root = np.sqrt(mu)[:, None]
        step = np.linalg.lstsq(root * design[:-1], root[:, 0] * ((y - mu) / mu), rcond=None)[0]
        beta = beta + step
        if np.abs(step).max() < 1e-10:  # noqa: PLR2004 — converged
            break
    expected = np.exp(np.clip(design @ beta, -30, 30))
    free = max(1, len(y) - design.shape[1])
    return expected, float(((y - expected[:-1]) ** 2 / expected[:-1]).sum() / free)


def changes(counts: Sequence[float], penalty: float | None = None) -> list[int]:
    """Return where the rate of a history changed: the first index of each new segment (PELT, Poisson cost).

    Args:
        counts: one per day, in order.
        penalty: what a change must gain in twice the log likelihood; 3 ln n when None.

    Raises:
        InvalidValueError: no counts, or a negative one.
    """
    some(counts, "counts")
    y = numbers(counts, "counts", least=0)
    n = len(y)
    price = 3 * np.log(max(2, n)) if penalty is None else number(penalty, "penalty", least=0)
    sums = np.concatenate(([0.0], np.cumsum(y)))
    cost: Floats = np.full(n + 1, np.inf)
    cost[0] = -price
    last = np.zeros(n + 1, dtype=np.int64)
    open_ = np.array([0])
    for end in range(1, n + 1):
        totals, lengths = sums[end] - sums[open_], end - open_
        with np.errstate(divide="ignore", invalid="ignore"):
            likely = np.where(totals > 0, totals * (np.log(totals / lengths) - 1), 0.0)
        reached = cost[open_] - 2 * likely
        best = int(np.argmin(reached))
        cost[end], last[end] = reached[best] + price, open_[best]
        open_ = np.append(open_[reached <= cost[end]], end)
    found = []
    end = n
    while end > 0:
        end = int(last[end])
        if end > 0:
            found.append(end)
    return found[::-1]
