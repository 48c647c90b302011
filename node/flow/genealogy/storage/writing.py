"""Writing edges, marks and custody, inside somebody else's transaction.

Rows stay when their event is declared void: they are marked, and drop out of every answer. A cycle of lots is written
as it was told, because nothing is repaired in silence, and the events that close it are returned to be noted; every
walk ends on one, because it visits each node once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Column, Connection, select, text

from node.flow.books.storage import Book, Names, chunks
from node.flow.genealogy.edges import ALL, Descent
from node.flow.genealogy.storage.tables import flow_custody, flow_edge, flow_mark
from registry.storage.bulk import Bulk, Insert

__all__ = ["Pedigree", "Pedigrees"]

_EDGES = Insert(flow_edge)
_MARKS = Insert(flow_mark)
_CUSTODY = Insert(flow_custody)


def _void(table: str, keys: Sequence[str]) -> Bulk:
    each = " AND ".join(f"{name} = ?" for name in keys)
    arrays = ", ".join("%s::bigint[]" for _ in range(len(keys) + 1))
    same = " AND ".join(f"e.{name} = u.{name}" for name in keys)
    return Bulk(
        f"UPDATE {table} SET void_by = ? WHERE {each}",  # noqa: S608 — names of our own tables
        f"UPDATE {table} e SET void_by = u.by FROM unnest({arrays}) AS u(by, {', '.join(keys)}) WHERE {same}",  # noqa: S608 — likewise
        ["bigint"] * (len(keys) + 1),
    )


_VOID_EDGES = _void("flow_edge", ("book", "dst", "src", "event"))
_VOID_MARKS = _void("flow_mark", ("book", "child", "parent", "t_event", "event"))
_VOID_CUSTODY = _void("flow_custody", ("book", "lot", "event"))

#: Does a walk downstream from a run come back to it, over edges told up to some event?
_BACK = text("""
    WITH RECURSIVE down(n) AS (
      SELECT dst FROM flow_edge WHERE book = :book AND src = :run AND void_by = 0 AND event <= :event
      UNION
      SELECT e.dst FROM down JOIN flow_edge e ON e.book = :book AND e.src = down.n
      WHERE e.void_by = 0 AND e.event <= :event
    )
    SELECT 1 FROM (SELECT n FROM down LIMIT :cap) AS reached WHERE n = :run LIMIT 1
""")
#: A check for cycles looks at no more than this.
_MAX_CHECKED = 100_000


class Pedigree(NamedTuple):
    """An event on its way into the genealogy: its number, when, and what it says."""

    event: int
    t_event: int
    descent: Descent


class Pedigrees:
    """The genealogy of one locked book."""

    def __init__(self, connection: Connection, book: Book, names: Names) -> None:
        self._connection = connection
        self._book = book
        self._names = names

    def add(self, pedigrees: Sequence[Pedigree]) -> list[int]:
        """Write what events say; return the numbers of those that close a cycle of lots."""
        things, runs = self._numbers(pedigrees)
        used = self._used_before(pedigrees, runs)
        edges = self._edges(pedigrees, things, runs)
        _EDGES.run(self._connection, edges)
        self._write_marks(pedigrees, things)
        self._write_custody(pedigrees, things)
        return self._cycles(edges, used)

    def void(self, pedigree: Pedigree, by: int) -> None:
        """Let everything an event said drop out, because the event numbered `by` declares it void."""
        things, runs = self._numbers([pedigree])
        book, event = self._book.number, pedigree.event
        edges = self._edges([pedigree], things, runs)
        descent = pedigree.descent
        _VOID_EDGES.run(self._connection, [(by, book, one["dst"], one["src"], event) for one in edges])
        _VOID_MARKS.run(
            self._connection,
            [
                (by, book, things[mark.child], things[mark.parent], pedigree.t_event, event)
                for mark in descent.marks
            ],
        )
        _VOID_CUSTODY.run(self._connection, [(by, book, things[one.lot], event) for one in descent.custody])

    def _numbers(self, pedigrees: Iterable[Pedigree]) -> tuple[dict[str, int], dict[str, int]]:
        things: set[str] = set()
        runs: set[str] = set()
        for _, _, descent in pedigrees:
            for edge in descent.edges:
                runs.add(edge.dst if edge.into_run else edge.src)
                things.add(edge.src if edge.into_run else edge.dst)
            for mark in descent.marks:
                things.update((mark.child, mark.parent))
            for custody in descent.custody:
                things.update((custody.lot, custody.partner, custody.document))
        things.discard(ALL)
        return (
            {**self._names.give(self._book, things), ALL: 0},
            dict(self._names.give(self._book, runs, run=True)),
        )

    def _edges(
        self, pedigrees: Iterable[Pedigree], things: dict[str, int], runs: dict[str, int]
    ) -> list[dict[str, int | str | None]]:
        book = self._book.number
        return [
            {
                "book": book,
                "dst": runs[edge.dst] if edge.into_run else things[edge.dst],
                "src": things[edge.src] if edge.into_run else runs[edge.src],
                "event": event,
                "into_run": int(edge.into_run),
                "qty": _spelled(edge.qty),
                "uom": edge.uom,
                "t_event": t_event,
                "void_by": 0,
            }
            for event, t_event, descent in pedigrees
            for edge in descent.edges
        ]

    def _write_marks(self, pedigrees: Iterable[Pedigree], things: dict[str, int]) -> None:
        _MARKS.run(
            self._connection,
            [
                {
                    "book": self._book.number, "child": things[mark.child], "parent": things[mark.parent],
                    "t_event": t_event, "event": event, "added": int(mark.added), "qty": _spelled(mark.qty),
                    "uom": mark.uom, "void_by": 0,
                }
                for event, t_event, descent in pedigrees
                for mark in descent.marks
            ],
        )  # fmt: skip

    def _write_custody(self, pedigrees: Iterable[Pedigree], things: dict[str, int]) -> None:
        _CUSTODY.run(
            self._connection,
            [
                {
                    "book": self._book.number, "lot": things[one.lot], "event": event,
                    "outward": int(one.outward), "partner": things[one.partner],
                    "document": things[one.document], "qty": _spelled(one.qty), "uom": one.uom,
                    "t_event": t_event, "void_by": 0,
                }
                for event, t_event, descent in pedigrees
                for one in descent.custody
            ],
        )  # fmt: skip

    # Cycles --------------------------------------------------------------------------------------------------------

    def _used_before(self, pedigrees: Sequence[Pedigree], runs: dict[str, int]) -> set[int]:
        """Return the lots that come out of runs in hand and have been used already, in earlier captures."""
        made = {edge.dst for one in pedigrees for edge in one.descent.edges if not edge.into_run}
        lots = set(self._names.known(made).values())
        lots |= self._joined(flow_edge.c.src, flow_edge.c.dst, set(runs.values()))
        return self._joined(flow_edge.c.src, flow_edge.c.src, lots)

    def _joined(self, at: Column[int], give: Column[int], numbers: Iterable[int]) -> set[int]:
        return {found for _, found in self._pairs(at, give, numbers)}

    def _pairs(self, at: Column[int], give: Column[int], numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        for part in chunks(sorted(numbers)):
            asked = select(at, give).where(
                flow_edge.c.book == self._book.number, at.in_(part), flow_edge.c.void_by == 0
            )
            yield from ((int(one), int(other)) for one, other in self._connection.execute(asked.distinct()))

    def _cycles(self, edges: Iterable[dict[str, int | str | None]], used: set[int]) -> list[int]:
        """Return the events that close a cycle: a run can do so only when what it makes is already used."""
        suspects: dict[int, int] = {}
        seen = set(used)
        told = [
            (int(edge["event"] or 0), int(edge["dst"] or 0), int(edge["src"] or 0), bool(edge["into_run"]))
            for edge in edges
        ]
        made: dict[int, set[int]] = defaultdict(set)
        runs = {dst if into_run else src for _, dst, src, into_run in told}
        for run, lot in self._pairs(flow_edge.c.src, flow_edge.c.dst, runs):
            made[run].add(lot)
        for event, dst, src, into_run in told:
            run = dst if into_run else src
            if into_run:
                seen.add(src)
            if not made[run].isdisjoint(seen):
                suspects[event] = run
        return [event for event, run in suspects.items() if self._comes_back(run, event)]

    def _comes_back(self, run: int, event: int) -> bool:
        found = self._connection.execute(
            _BACK, {"book": self._book.number, "run": run, "event": event, "cap": _MAX_CHECKED}
        )
        return found.scalar() is not None


def _spelled(figure: Decimal | None) -> str | None:
    return None if figure is None else str(figure)
