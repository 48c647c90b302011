"""Walking the genealogy of one book, inside a snapshot.

Two ways give the same answer. Without a limit of depth one recursive `UNION` on the node alone finds every node; it
never counts paths, of which there can be exponentially many. With a limit the walk goes level by level, some hundred
nodes at a time, and stops where it is told.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, select, text

from node.flow.books.storage import Names, chunks
from node.flow.genealogy.edges import Custody, Interval, Mark, intervals
from node.flow.genealogy.graph import Direction, Graph, Link, Node, depths
from node.flow.genealogy.storage.tables import flow_custody, flow_edge, flow_mark

__all__ = ["MAX_DEPTH", "PedigreeReader"]

#: The deepest limit; who asks for more asks for everything.
MAX_DEPTH = 100


def _walk(near: str, far: str, then: str) -> str:
    """Return a statement that walks from a node to everything beyond it, `cap` nodes at most, and then selects."""
    return f"""
    WITH RECURSIVE walk(n) AS (
      SELECT CAST(:start AS BIGINT)
      UNION
      SELECT e.{far} FROM walk CROSS JOIN flow_edge e
      WHERE e.book = :book AND e.{near} = walk.n AND e.void_by = 0 AND e.t_event <= :as_of
    )
    {then}
    """  # noqa: S608 — names of our own columns


_REACHED = "(SELECT n FROM walk LIMIT :cap) AS reached"
# CROSS JOIN: SQLite keeps the order of the two, and looks up what it found
_NAMED = (
    f"SELECT m.id, m.name FROM {_REACHED} CROSS JOIN flow_name m WHERE m.book = :book AND m.id = reached.n"  # noqa: S608 — ours
)
_LINKED = (
    "SELECT e.dst, e.src, e.event, e.into_run, e.t_event, e.qty, e.uom"  # noqa: S608 — ours
    f" FROM {_REACHED} CROSS JOIN flow_edge e WHERE e.book = :book AND e.%s = reached.n"
    " AND e.void_by = 0 AND e.t_event <= :as_of"
)
_WAYS = {Direction.UPSTREAM: ("dst", "src"), Direction.DOWNSTREAM: ("src", "dst")}
_NAMES = {way: text(_walk(*ends, _NAMED)) for way, ends in _WAYS.items()}
_LINKS = {way: text(_walk(*ends, _LINKED % ends[0])) for way, ends in _WAYS.items()}
_EVER = 2**63 - 1
#: A link as a row: dst, src, event, into_run, t_event, qty, uom.
_LinkRow = tuple[int, int, int, int, int, str | None, str | None]


class PedigreeReader:
    """The genealogy of one book."""

    def __init__(self, connection: Connection, book: int) -> None:
        self._connection = connection
        self._book = book
        self._names = Names(connection, book)

    def trace(
        self,
        lot: str,
        direction: Direction,
        *,
        max_nodes: int,
        depth: int | None = None,
        as_of: int | None = None,
    ) -> Graph:
        """Return what a lot was made of, or what was made of it.

        Args:
            lot: where to begin; a lot that never came up has no links.
            direction: which way.
            max_nodes: no more than these, the nearest first; runs count.
            depth: no more than so many steps from lot to lot; None: all.
            as_of: events after this moment do not count.
        """
        start = self._names.known([lot]).get(lot)
        if start is None:
            return Graph((Node(lot, run=False, depth=0),), (), (), truncated=False)
        until = _EVER if as_of is None else as_of
        if depth is None:
            asked = {"book": self._book, "start": start, "as_of": until, "cap": max_nodes + 1}
            named = self._connection.execute(_NAMES[direction], asked).all()
            names = {int(number): str(name) for number, name in named}
            if len(names) <= max_nodes:
                links = self._connection.execute(_LINKS[direction], asked).all()
                return _graph(lot, names, (tuple(row) for row in links), frozenset(), direction)
        found, frontier = self._levels(start, direction, max_nodes, depth, until)
        return _graph(
            lot, self._names.spelled(found), self._among(found, direction, until), frontier, direction
        )

    def contained(self, name: str) -> list[Interval]:
        """Return what something was in, and when; `Interval.child` is the name itself."""
        number = self._names.known([name]).get(name)
        if number is None:
            return []
        mine = flow_mark.c.child == number
        parents = select(flow_mark.c.parent).where(flow_mark.c.book == self._book, mine)
        whole = (flow_mark.c.child == 0) & flow_mark.c.parent.in_(parents)
        return [one for one in self._intervals(mine | whole) if one.child == name]

    def contents(self, parent: str) -> list[Interval]:
        """Return what was in something, and when."""
        number = self._names.known([parent]).get(parent)
        return [] if number is None else self._intervals(flow_mark.c.parent == number)

    def custody(self, lots: Iterable[str]) -> list[tuple[int, Custody]]:
        """Return the dispatches and receipts of lots, with their moment, the earliest first."""
        numbers = self._names.known(lots).values()
        rows: list[Row[Any]] = []
        for part in chunks(sorted(numbers)):
            asked = select(flow_custody).where(
                flow_custody.c.book == self._book, flow_custody.c.lot.in_(part), flow_custody.c.void_by == 0
            )
            rows += self._connection.execute(asked).all()
        names = self._names.spelled(number for row in rows for number in (row.lot, row.partner, row.document))
        return sorted(
            (
                row.t_event,
                Custody(
                    names[row.lot], bool(row.outward), names[row.partner], names[row.document],
                    None if row.qty is None else Decimal(row.qty), row.uom,
                ),
            )
            for row in rows
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------------------------

    def _levels(
        self, start: int, direction: Direction, max_nodes: int, depth: int | None, until: int
    ) -> tuple[set[int], set[int]]:
        """Return the nodes found, and those among them whose links were not followed."""
        found, level = {start}, {start}
        # a step from lot to lot is two links
        left = None if depth is None else 2 * depth
        while level and left != 0:
            following = {far for _, far in self._steps(level, direction, until)} - found
            room = max_nodes - len(found)
            some = set(sorted(following)[:room]) if len(following) > room else following
            found |= some
            if len(some) < len(following):
                level |= some
                break
            level = some
            left = None if left is None else left - 1
        return found, {near for near, far in self._steps(level, direction, until) if far not in found}

    def _steps(self, numbers: Iterable[int], direction: Direction, until: int) -> Iterator[tuple[int, int]]:
        near, far = _ends(direction)
        for part in chunks(sorted(numbers)):
            asked = select(near, far).where(
                flow_edge.c.book == self._book,
                near.in_(part),
                flow_edge.c.void_by == 0,
                flow_edge.c.t_event <= until,
            )
            yield from ((int(one), int(other)) for one, other in self._connection.execute(asked))

    def _among(self, found: set[int], direction: Direction, until: int) -> Iterator[_LinkRow]:
        """Return the links from nodes to others of them."""
        edge = flow_edge.c
        near, far = _ends(direction)
        columns = (edge.dst, edge.src, edge.event, edge.into_run, edge.t_event, edge.qty, edge.uom)
        place = 1 if far is edge.src else 0
        for part in chunks(sorted(found)):
            asked = select(*columns).where(
                edge.book == self._book, near.in_(part), edge.void_by == 0, edge.t_event <= until
            )
            yield from (tuple(row) for row in self._connection.execute(asked) if row[place] in found)

    def _intervals(self, condition: ColumnElement[bool]) -> list[Interval]:
        asked = select(flow_mark).where(flow_mark.c.book == self._book, flow_mark.c.void_by == 0, condition)
        rows = self._connection.execute(asked).all()
        names = self._names.spelled(number for row in rows for number in (row.child, row.parent))
        return intervals(
            (row.t_event, "", Mark(names[row.child], names[row.parent], bool(row.added), None, None))
            for row in rows
        )


def _graph(
    lot: str,
    names: Mapping[int, str],
    rows: Iterable[_LinkRow],
    frontier: Collection[int],
    direction: Direction,
) -> Graph:
    links = [
        Link(
            names[dst], names[src], event, bool(into_run), t_event, None if qty is None else Decimal(qty), uom
        )
        for dst, src, event, into_run, t_event, qty, uom in rows
    ]
    links.sort(key=itemgetter(0, 1, 2))
    nodes = sorted(Node(name, run, depth) for (name, run), depth in depths(lot, links, direction).items())
    stopped = tuple(sorted(names[one] for one in frontier))
    return Graph(tuple(nodes), tuple(links), stopped, truncated=bool(frontier))


def _ends(direction: Direction) -> tuple[Column[int], Column[int]]:
    edge = flow_edge.c
    return (edge.dst, edge.src) if direction is Direction.UPSTREAM else (edge.src, edge.dst)
