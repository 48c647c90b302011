"""A trace over many nodes, decided without I/O: whom to ask next, what is known, and who was silent.

Rules:

- **one request per partner and hop**, with all the lots that partner is asked for, each with the steps left to it;
- depth counts steps from lot to lot; from node to node a lot stays where it is. Each lot is asked of a partner once,
  again only when a shorter way to it leaves it more steps;
- a partner that cannot be asked, or does not answer, leaves a tombstone: an answer is never complete without it;
- a cap on depth or number stops the walk where it is, and names where it would have gone on.

Whoever holds this object asks what `requests()` says, in parallel, and brings each answer or failure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from node.flow.genealogy.graph import Direction, Link, Node, depths

__all__ = ["Ask", "FederatedTrace", "PartnerAnswer", "Status", "Step", "Tombstone", "TraceAnswer"]

_Depths = dict[tuple[str, bool], int]


class Status(Enum):
    """How much of the whole an answer is."""

    RUNNING = "running"
    COMPLETE = "complete"
    #: somebody was silent
    PARTIAL = "partial"
    #: a cap was reached
    TRUNCATED = "truncated"


class Step(Enum):
    """Where it went wrong with a partner."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    AUTHORISE = "authorise"
    QUERY = "query"
    VALIDATE = "validate"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: a partner's node, and the steps that are left to each of its lots; None: all."""

    node: str
    lots: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class PartnerAnswer:
    """What a partner shows of its genealogy around the lots asked for.

    Attributes:
        links: those that the asker may see.
        frontier: lots at which its knowledge ends, with the node that may know more.
        stopped: lots at which one of its caps stopped it.
    """

    links: tuple[Link, ...]
    frontier: tuple[tuple[str, str], ...] = ()
    stopped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A partner that could not be asked, or did not answer."""

    node: str
    party: str
    endpoint: str
    lots: tuple[str, ...]
    step: Step
    error: str
    root_causes: tuple[str, ...]
    attempts: int
    last_attempt: int


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """What is known of a trace so far.

    Attributes:
        frontier: (lot, node) where it would go on; node empty where a partner's own cap stopped it.
    """

    status: Status
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    tombstones: tuple[Tombstone, ...]
    frontier: tuple[tuple[str, str], ...]
    completed: tuple[str, ...]
    failed: tuple[str, ...]
    running: tuple[str, ...]


@dataclass(slots=True)
class FederatedTrace:
    """One trace on its way through the nodes.

    Args:
        lot: where it begins.
        home: the node that is asked first.
        direction: which way.
        max_nodes: lots and runs in the whole answer.
        max_requests: of all hops together.
        depth: steps from lot to lot; None: all.
    """

    lot: str
    home: str
    direction: Direction
    max_nodes: int
    max_requests: int = 1_000
    depth: int | None = None
    _links: dict[tuple[str, str, bool, int, str], tuple[str, Link]] = field(default_factory=dict)
    _told: dict[str, set[str]] = field(default_factory=dict)
    _asked: dict[tuple[str, str], int | None] = field(default_factory=dict)
    _under_way: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _tombstones: dict[str, Tombstone] = field(default_factory=dict)
    _completed: set[str] = field(default_factory=set)
    _stopped: set[tuple[str, str]] = field(default_factory=set)
    _requests: int = 0

    def __post_init__(self) -> None:
        self._told[self.lot] = {self.home}

    def requests(self) -> list[Ask]:
        """Return what to ask now, one request per partner; what is returned counts as under way."""
        if self._full() or self._under_way:
            # one hop at a time: the answers of a hop together say what the next one asks
            return []
        asks: dict[str, dict[str, int | None]] = {}
        reached = self._depths()
        for lot, node in self._open(reached):
            asks.setdefault(node, {})[lot] = self._left(lot, reached)
        made = []
        for node in sorted(asks):
            if self._requests == self.max_requests:
                break
            self._requests += 1
            self._under_way[node] = tuple(sorted(asks[node]))
            self._asked.update({(node, lot): left for lot, left in asks[node].items()})
            made.append(Ask(node, asks[node]))
        return made

    def answered(self, node: str, answer: PartnerAnswer) -> None:
        """Take the answer of a partner."""
        self._under_way.pop(node, None)
        self._completed.add(node)
        for link in answer.links:
            self._links.setdefault((link.dst, link.src, link.into_run, link.event, node), (node, link))
        for lot, following in answer.frontier:
            self._told.setdefault(lot, set()).add(following)
        self._stopped.update((lot, node) for lot in answer.stopped)

    def failed(self, tombstone: Tombstone) -> None:
        """Take note that a partner was silent, for all the lots it was asked for; it is not asked again."""
        self._under_way.pop(tombstone.node, None)
        before = self._tombstones.get(tombstone.node)
        lots = {*tombstone.lots, *(before.lots if before else ())}
        self._tombstones[tombstone.node] = Tombstone(
            tombstone.node, tombstone.party, tombstone.endpoint, tuple(sorted(lots)), tombstone.step, tombstone.error,
            tombstone.root_causes, tombstone.attempts, tombstone.last_attempt,
        )  # fmt: skip

    def answer(self) -> TraceAnswer:
        """Return what is known so far."""
        reached = self._depths()
        links = sorted(
            {link for _, link in self._links.values() if (link.dst, link.into_run) in reached},
            key=lambda link: link[:5],
        )
        waiting = self._open(reached)
        beyond = self._beyond(reached)
        frontier = tuple(sorted({*waiting, *beyond}))
        return TraceAnswer(
            self._status(reached, waiting, beyond),
            tuple(sorted(Node(name, run, depth) for (name, run), depth in reached.items())),
            tuple(links),
            tuple(self._tombstones[node] for node in sorted(self._tombstones)),
            frontier,
            tuple(sorted(self._completed - self._tombstones.keys())),
            tuple(sorted(self._tombstones)),
            tuple(sorted(self._under_way)),
        )

    # ---------------------------------------------------------------------------------------------------------------

    def _status(self, reached: _Depths, waiting: Sequence[object], beyond: Sequence[object]) -> Status:
        if self._under_way or (waiting and not self._full()):
            return Status.RUNNING
        if waiting or beyond or self._cut_short(reached):
            return Status.TRUNCATED
        return Status.PARTIAL if self._tombstones else Status.COMPLETE

    def _full(self) -> bool:
        return len(self._depths()) >= self.max_nodes or self._requests >= self.max_requests

    def _beyond(self, reached: _Depths) -> list[tuple[str, str]]:
        """Return the lots at which a cap of a partner stopped it, and no other way to them led on."""
        upward = self.direction is Direction.UPSTREAM
        onward = {(link.dst if upward else link.src, node) for node, link in self._links.values()}
        return [(lot, "") for lot, _ in sorted(self._stopped - onward) if (lot, False) in reached]

    def _cut_short(self, reached: _Depths) -> bool:
        """Whether a lot is known to go on somewhere and has no steps left."""
        return any(
            (lot, False) in reached and self._left(lot, reached) == 0 and (node, lot) not in self._asked
            for lot, nodes in self._told.items()
            for node in nodes
            if node not in self._tombstones
        )

    def _open(self, reached: _Depths) -> list[tuple[str, str]]:
        """Return the lots that are still to be asked, with the node to ask."""
        return sorted(
            (lot, node)
            for lot, nodes in self._told.items()
            if (left := self._left(lot, reached)) != 0
            for node in nodes - self._tombstones.keys()
            if (node, lot) not in self._asked or _more(left, self._asked[node, lot])
        )

    def _left(self, lot: str, reached: _Depths) -> int | None:
        """Return the steps left to a lot; 0 for one that is not reached."""
        depth = reached.get((lot, False))
        if depth is None:
            return 0
        return None if self.depth is None else max(0, self.depth - depth)

    def _depths(self) -> _Depths:
        found = depths(self.lot, [link for _, link in self._links.values()], self.direction)
        return {node: depth for node, depth in found.items() if self.depth is None or depth <= self.depth}


def _more(left: int | None, before: int | None) -> bool:
    return before is not None and (left is None or left > before)
