"""A network of streams made to close: weighted least squares, and who or which meter is to blame when it does not.

`min (x-y)' S^-1 (x-y)` under `A x = 0`. With `r = A y` and `V = A S A'`: `x = y - S A' V^-1 r`.

- global test: `g = r' V^-1 r`, chi-squared with rank(A) degrees of freedom;
- nodal test: `|r_i| / sqrt(V_ii)`: at whose place it does not close;
- measurement test: `|y-x|_j / sqrt(W_jj)`, `W = S A' V^-1 A S`: which meter;
- the tests share one error probability alpha (Šidák: `1 - (1-alpha)^(1/n)`);
- gross errors: while the global test fails, the stream without whose value g falls most counts as unmeasured (serial
  elimination). Streams that no balance can tell apart are named together;
- unmeasured streams are projected out (QR of their columns); those that the balances determine are computed
  afterwards.

Dense, O(m^3); above some thousand streams a sparse factorisation would be needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from node.flow.models.checks import Floats, distinct, name, number, some
from registry.errors import InvalidValueError

__all__ = ["Balance", "GrossError", "Reconciliation", "Stream", "reconcile", "sidak"]

_RELATIVE = 1e-9
#: Two streams whose removal lowers g by the same, to this relative difference, cannot be told apart.
_ALIKE = 1e-6


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: a transfer, a production, a use, a stock change.

    Attributes:
        name: identifier.
        value: what was measured; None = not measured.
        uncertainty: standard uncertainty of the value, same unit.
        owner: whose meter it is.
    """

    name: str
    value: float | None
    uncertainty: float | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """One balance that must be zero: stream name to coefficient (+1 in, -1 out); `name` says whose place it is."""

    name: str
    terms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GrossError:
    """A value that does not fit the others: `streams` lists all that cannot be told apart, the taken one first."""

    streams: tuple[str, ...]
    measured: float
    estimate: float | None
    statistic: float


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The streams as they close.

    Attributes:
        values: reconciled or computed values; None where nothing determines an unmeasured stream.
        uncertainties: standard uncertainties of the reconciled values of measured streams.
        residuals: `A y` per balance without unmeasured streams.
        g: statistic of the global test.
        freedom: its degrees of freedom.
        limit: what g may not exceed.
        nodal: statistic per balance without unmeasured streams.
        nodal_limit: what they may not exceed.
        measurement: statistic per measured stream; None where no other value checks it.
        measurement_limit: what they may not exceed.
        gross: gross errors, as named one after another; `values` is without them.
        closes: whether the global test passed before anything was taken out.
        resolved: whether it passes without the gross errors.
    """

    values: Mapping[str, float | None]
    uncertainties: Mapping[str, float]
    residuals: Mapping[str, float]
    g: float
    freedom: int
    limit: float
    nodal: Mapping[str, float]
    nodal_limit: float
    measurement: Mapping[str, float | None]
    measurement_limit: float
    gross: tuple[GrossError, ...]
    closes: bool
    resolved: bool


@dataclass(frozen=True, slots=True)
class _Fit:
    x: Floats
    covariance: Floats  # of the adjustments y - x: W
    precision: Floats  # A' V^-1 A
    g: float
    freedom: int


def sidak(alpha: float, count: int) -> float:
    """Return the error probability of one of `count` tests that share `alpha`."""
    return float(-np.expm1(np.log1p(-alpha) / max(1, count)))


def reconcile(
    streams: Sequence[Stream],
    balances: Sequence[Balance],
    correlations: Mapping[tuple[str, str], float] | None = None,
    *,
    alpha: float = 0.05,
) -> Reconciliation:
    """Reconcile a network.

    Args:
        streams: all streams, each once; the order does not matter.
        balances: what must be zero.
        correlations: of the errors of two measured streams, where they are not independent.
        alpha: error probability of the global test, and of all nodal and all measurement tests together.

    Raises:
        InvalidValueError: nothing to reconcile, an unknown stream, a missing or zero uncertainty, correlations that
            contradict each other.
    """
    alpha = number(alpha, "alpha", above=0, most=0.5)
    ordered = sorted(streams, key=lambda stream: stream.name)
    rows = sorted(balances, key=lambda balance: balance.name)
    names, a = _matrix(ordered, rows)
    measured = np.array([stream.value is not None for stream in ordered])
    some(np.flatnonzero(measured), "streams")
    y, s = _measurements(ordered, correlations or {})
    fit = _fit(a, y, s, measured)
    if fit.freedom == 0:
        raise InvalidValueError("node.flow_models.nothing_checks", field="balances")
    limit = float(stats.chi2.isf(alpha, fit.freedom))
    gross, kept, last = _eliminate(a, y, s, measured, fit, alpha=alpha, names=names)
    tested = [i for i in range(len(rows)) if not np.any(a[i, ~measured]) and np.any(a[i])]
    variance = np.einsum("ij,jk,ik->i", a, s, a)
    computed = _computed(a, last.x, kept)
    spread = np.sqrt(np.clip(np.diag(s - last.covariance), 0, None))
    return Reconciliation(
        values={n: _plain(v) for n, v in zip(names, computed, strict=True)},
        uncertainties={n: float(spread[j]) for j, n in enumerate(names) if kept[j]},
        residuals={rows[i].name: float(a[i] @ y) for i in tested},
        g=fit.g,
        freedom=fit.freedom,
        limit=limit,
        nodal={rows[i].name: float(abs(a[i] @ y) / np.sqrt(variance[i])) for i in tested},
        nodal_limit=_two_sided(alpha, len(tested)),
        measurement={n: _tested(fit, y, s, j) for j, n in enumerate(names) if measured[j]},
        measurement_limit=_two_sided(alpha, int(measured.sum())),
        gross=tuple(_estimated(one, names, computed) for one in gross),
        closes=fit.g <= limit,
        resolved=last.freedom == 0 or last.g <= float(stats.chi2.isf(alpha, last.freedom)),
    )


def _two_sided(alpha: float, count: int) -> float:
    return float(stats.norm.isf(sidak(alpha, count) / 2))


def _matrix(streams: Sequence[Stream], balances: Sequence[Balance]) -> tuple[list[str], Floats]:
    some(balances, "balances")
    names = [name(stream.name, f"streams[{i}].name") for i, stream in enumerate(streams)]
    distinct(names, "streams.name")
    distinct((name(balance.name, "balances.name") for balance in balances), "balances.name")
    place = {one: j for j, one in enumerate(names)}
    a = np.zeros((len(balances), len(names)))
    for i, balance in enumerate(balances):
        for term, coefficient in balance.terms.items():
            field = f"balances.{balance.name}.{term}"
            if term not in place:
                raise InvalidValueError("node.flow_models.unknown_stream", field=field, value=term)
            a[i, place[term]] = number(coefficient, field)
    return names, a


def _measurements(
    streams: Sequence[Stream], correlations: Mapping[tuple[str, str], float]
) -> tuple[Floats, Floats]:
    """Return values and covariance; unmeasured streams stand as zero in both."""
    y, u = np.zeros(len(streams)), np.zeros(len(streams))
    place = {stream.name: j for j, stream in enumerate(streams)}
    for j, stream in enumerate(streams):
        if stream.value is not None:
            y[j] = number(stream.value, f"streams.{stream.name}.value")
            u[j] = number(stream.uncertainty, f"streams.{stream.name}.uncertainty", above=0)
    likeness = np.eye(len(streams))
    for (one, other), value in correlations.items():
        field = f"correlations.{one}.{other}"
        if one not in place or other not in place or one == other:
            raise InvalidValueError("node.flow_models.unknown_stream", field=field, value=f"{one}, {other}")
        j, k = place[one], place[other]
        likeness[j, k] = likeness[k, j] = number(value, field, least=-1, most=1)
    if np.linalg.eigvalsh(likeness)[0] <= _RELATIVE:
        raise InvalidValueError("node.flow_models.contradicting", field="correlations")
    return y, likeness * np.outer(u, u)


def _fit(a: Floats, y: Floats, s: Floats, measured: NDArray[np.bool_]) -> _Fit:
    """Return the least-squares fit of the measured streams; the others are projected out."""
    reduced = _independent(_projected(a, measured))
    if len(reduced) == 0:
        zero = np.zeros_like(s)
        return _Fit(np.where(measured, y, 0.0), zero, zero, 0.0, 0)
    r = reduced @ y
    gain = s @ reduced.T
    factor = linalg.cho_factor(reduced @ gain)
    precision = reduced.T @ linalg.cho_solve(factor, reduced)
    step = linalg.cho_solve(factor, r)
    return _Fit(y - gain @ step, s @ precision @ s, precision, float(r @ step), len(reduced))


def _projected(a: Floats, measured: NDArray[np.bool_]) -> Floats:
    """Return the balances in which no unmeasured stream stands."""
    if measured.all():
        return a
    missing = a[:, ~measured]
    q, r, _ = linalg.qr(missing, pivoting=True)
    rank = _rank(np.diag(r), missing)
    left: Floats = q[:, rank:].T @ np.where(measured, a, 0.0)
    left[np.abs(left) < _RELATIVE * max(1.0, float(np.abs(a).max()))] = 0.0
    return left


def _independent(a: Floats) -> Floats:
    """Return an orthogonal basis of the balances: repeated and empty ones fall away."""
    if a.size == 0 or not np.any(a):
        return a[:0]
    q, r, _ = linalg.qr(a.T, pivoting=True, mode="economic")
    basis: Floats = q[:, : _rank(np.diag(r), a)].T
    return basis


def _rank(diagonal: Floats, a: Floats) -> int:
    return int(np.count_nonzero(np.abs(diagonal) > _RELATIVE * max(1.0, float(np.abs(a).max()))))


def _tested(fit: _Fit, y: Floats, s: Floats, j: int) -> float | None:
    variance = fit.covariance[j, j]
    if variance <= _RELATIVE * s[j, j]:
        return None  # nothing but its own value says anything about it
    return float(abs(y[j] - fit.x[j]) / np.sqrt(variance))


def _eliminate(
    a: Floats, y: Floats, s: Floats, measured: NDArray[np.bool_], fit: _Fit, *, alpha: float, names: list[str]
) -> tuple[list[tuple[list[int], float, float]], NDArray[np.bool_], _Fit]:
    """Take streams out until the rest closes; return (alike, value, statistic), what is kept, and the last fit."""
    kept, gross = measured.copy(), []
    while fit.freedom > 0 and fit.g > stats.chi2.isf(alpha, fit.freedom):
        # by how much g falls without stream j: d_j^2 / P_jj with d = P y, P = A' V^-1 A
        power = np.diag(fit.precision)
        usable = kept & (power * np.diag(s) > _RELATIVE)
        if not usable.any():
            break
        fall = np.where(usable, (fit.precision @ y) ** 2 / np.where(usable, power, 1.0), -1.0)
        alike = np.flatnonzero(fall >= fall.max() * (1 - _ALIKE))
        taken = min(alike, key=lambda j: names[j])
        gross.append(
            ([int(taken), *(int(j) for j in alike if j != taken)], float(y[taken]), float(fall.max() ** 0.5))
        )
        kept[taken] = False
        fit = _fit(a, np.where(kept, y, 0.0), np.where(np.outer(kept, kept), s, 0.0), kept)
    return gross, kept, fit


def _computed(a: Floats, x: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Return all streams: unmeasured ones from the balances, NaN where these leave them open."""
    values = np.where(kept, x, 0.0)
    if kept.all():
        return values
    missing = a[:, ~kept]
    solution = np.linalg.lstsq(missing, -a @ values, rcond=None)[0]
    free = linalg.null_space(missing)
    open_ = np.any(np.abs(free) > _RELATIVE, axis=1) if free.size else np.zeros(len(solution), dtype=bool)
    values[~kept] = np.where(open_, np.nan, solution)
    return values


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _estimated(one: tuple[list[int], float, float], names: list[str], computed: Floats) -> GrossError:
    streams, measured, statistic = one
    return GrossError(tuple(names[j] for j in streams), measured, _plain(computed[streams[0]]), statistic)
