"""A piece of the genealogy, and what is computed on it alone: depths and shares. No I/O."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

__all__ = ["Direction", "Graph", "Link", "Node", "depths", "shares"]


class Direction(Enum):
    """Which way a trace walks: to what went in, or to what came out."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


class Node(NamedTuple):
    """A lot, an instance or a run. `depth`: steps from lot to lot, 0 for where the trace began."""

    name: str
    run: bool
    depth: int


class Link(NamedTuple):
    """`dst` was made from `src`, as the event said; one of the two is a run."""

    dst: str
    src: str
    event: int
    into_run: bool
    t_event: int
    qty: Decimal | None = None
    uom: str | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """What a walk found.

    Attributes:
        nodes: each once, at its least depth; sorted.
        links: among the nodes; sorted.
        frontier: nodes at which the walk stopped before their own links were asked for; empty when it is complete.
        truncated: a cap on depth or number stopped it.
    """

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    frontier: tuple[str, ...]
    truncated: bool


def depths(start: str, links: Iterable[Link], direction: Direction) -> dict[tuple[str, bool], int]:
    """Return the least number of lot-to-lot steps from `start` to everything it reaches over `links`.

    A run stands half a step on: it has the depth of the lots beyond it.
    """
    beyond: dict[tuple[str, bool], list[tuple[str, bool]]] = defaultdict(list)
    for link in links:
        dst, src = (link.dst, link.into_run), (link.src, not link.into_run)
        near, far = (dst, src) if direction is Direction.UPSTREAM else (src, dst)
        beyond[near].append(far)
    found = {(start, False): 0}
    waiting = deque([(start, False)])
    while waiting:
        near = waiting.popleft()
        for far in beyond[near]:
            if far not in found:
                found[far] = found[near] + int(far[1])
                waiting.append(far)
    return found


def shares(links: Sequence[Link], of: str) -> Mapping[str, Fraction]:
    """Return how much of each lot in a piece of the genealogy is made of the lot `of`, as a fraction.

    By mass or whatever unit the inputs of a run have in common: share(run) = sum of quantity * share(input) / sum of
    quantity, and every output of a run is alike. A run whose inputs are not all known in one unit gives nothing
    that can be computed, and neither does a lot in a ring: what follows from them is left out. Where a lot comes
    out of several runs, the quantities of its outputs weigh them.
    """
    into: dict[tuple[str, bool], list[Link]] = defaultdict(list)
    onward: dict[tuple[str, bool], set[tuple[str, bool]]] = defaultdict(set)
    for link in links:
        into[link.dst, link.into_run].append(link)
        onward[link.src, not link.into_run].add((link.dst, link.into_run))
    nodes = set(into) | set(onward)
    missing = {node: len({(link.src, not link.into_run) for link in into.get(node, ())}) for node in nodes}
    ready = sorted(node for node, number in missing.items() if not number)
    known: dict[tuple[str, bool], Fraction | None] = {}
    while ready:
        node = ready.pop()
        known[node] = Fraction(1) if node == (of, False) else _mixed(into.get(node, ()), known)
        for one in onward[node]:
            missing[one] -= 1
            if not missing[one]:
                ready.append(one)
    return {name: share for (name, run), share in known.items() if share is not None and not run}


def _mixed(into: Sequence[Link], known: Mapping[tuple[str, bool], Fraction | None]) -> Fraction | None:
    """Return the share of what is mixed together; None where it cannot be said."""
    if not into:
        return Fraction(0)
    parts = [known[link.src, not link.into_run] for link in into]
    told = [part for part in parts if part is not None]
    if len(told) < len(parts):
        return None
    if len(set(told)) == 1:
        return told[0]
    if len({link.uom for link in into}) > 1:
        return None
    weights = [Fraction(link.qty) for link in into if link.qty is not None]
    if len(weights) < len(into) or not sum(weights):
        return None
    return sum((q * part for q, part in zip(weights, told, strict=True)), Fraction(0)) / sum(weights)
