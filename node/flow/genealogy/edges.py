"""What an event says about descent, containment and custody; nothing is asked but the event.

Rules (the project's facts file on traceability, section 7):

- a run joins every input to every output through itself: lot -> run -> lot, m + n edges; runs are joined by their
  transformation id;
- repacking and blending are runs: they make a new lot. A product may be its own ingredient, a lot never: an output
  that is an input of the same event gets no edge back;
- aggregation and association say what is inside what: from ADD to DELETE, `[add, delete)`; DELETE without children
  empties the parent; OBSERVE changes nothing;
- dispatch and receipt are custody: who has it next, and whom it came from; no edge;
- a void event says nothing.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from node.flow.events.event import Event, Quantity

__all__ = ["ALL", "Custody", "Descent", "Edge", "Interval", "Mark", "edges", "intervals"]

#: Stands for every child of a parent, in a DELETE that names none.
ALL = ""
_OUT = frozenset({"shipping", "departing"})
_IN = frozenset({"receiving", "arriving"})
_WAYBILLS = ("bol", "desadv", "recadv")


class Edge(NamedTuple):
    """`dst` was made from `src`; one of the two is a run."""

    dst: str
    src: str
    #: which of the two is the run: True for lot -> run
    into_run: bool
    qty: Decimal | None
    uom: str | None


class Mark(NamedTuple):
    """An event put a child into a parent, or took it out."""

    child: str
    parent: str
    added: bool
    qty: Decimal | None
    uom: str | None


class Custody(NamedTuple):
    """A lot went to a partner, or came from one; the partner as the event names it, or empty."""

    lot: str
    outward: bool
    partner: str
    document: str
    qty: Decimal | None
    uom: str | None


class Descent(NamedTuple):
    """All that an event says about where things come from and where they are.

    Attributes:
        loops: lots that the event names as their own ingredient.
    """

    edges: tuple[Edge, ...]
    marks: tuple[Mark, ...]
    custody: tuple[Custody, ...]
    loops: tuple[str, ...]


class Interval(NamedTuple):
    """A child was in a parent from `start` until just before `end`; None while it still is."""

    child: str
    parent: str
    start: int
    end: int | None


_NOTHING = Descent((), (), (), ())


def edges(event: Event) -> Descent:
    """Return what an event says about descent, containment and custody."""
    if event.type == "TransformationEvent":
        return _run(event)
    marks: tuple[Mark, ...] = ()
    if event.type in {"AggregationEvent", "AssociationEvent"} and event.parent:
        marks = _marks(event, event.parent)
    custody = _custody(event)
    return Descent((), marks, custody, ()) if marks or custody else _NOTHING


def intervals(marks: Iterable[tuple[int, str, Mark]]) -> list[Interval]:
    """Return what was in what and when, from marks in any order.

    Args:
        marks: (when, tie-breaker, mark) of all that was said about a set of children or parents.
    """
    open_: dict[tuple[str, str], int] = {}
    found: list[Interval] = []
    for when, _, mark in sorted(marks, key=lambda one: (one[0], not one[2].added, one[1], one[2][:3])):
        pair = (mark.child, mark.parent)
        if mark.added:
            open_.setdefault(pair, when)
            continue
        closing = [one for one in open_ if one[1] == mark.parent] if mark.child == ALL else [pair]
        for one in closing:
            start = open_.pop(one, None)
            if start is not None and start < when:
                found.append(Interval(*one, start, when))
    found.extend(Interval(*pair, start, None) for pair, start in open_.items())
    return sorted(found, key=lambda one: (one.child, one.parent, one.start))


def _run(event: Event) -> Descent:
    run = event.transformation_id or event.event_id
    inputs = _what(event.input_quantities, event.input_epcs)
    outputs = _what(event.output_quantities, event.output_epcs)
    loops = sorted(inputs.keys() & outputs.keys())
    into = [Edge(run, lot, True, *amount) for lot, amount in inputs.items()]
    out = [Edge(lot, run, False, *amount) for lot, amount in outputs.items() if lot not in inputs]
    return Descent((*into, *out), (), (), tuple(loops))


def _marks(event: Event, parent: str) -> tuple[Mark, ...]:
    if event.action not in {"ADD", "DELETE"}:
        return ()
    added = event.action == "ADD"
    children = _what(event.child_quantities, event.child_epcs)
    if not children and not added:
        return (Mark(ALL, parent, False, None, None),)
    return tuple(Mark(child, parent, added, *amount) for child, amount in children.items())


def _custody(event: Event) -> tuple[Custody, ...]:
    step = event.biz_step
    if step not in _OUT and step not in _IN:
        return ()
    outward = step in _OUT
    parties = event.destinations if outward else event.sources
    partner = next((uri for kind, uri in parties if kind == "possessing_party"), "")
    if not partner:
        partner = next((uri for kind, uri in parties if kind == "owning_party"), "")
    by_type = {kind or "": document for kind, document in reversed(event.transactions)}
    document = next((by_type[kind] for kind in _WAYBILLS if kind in by_type), "")
    what = (
        _what(event.child_quantities, event.child_epcs)
        if event.type == "AggregationEvent"
        else _what(event.quantities, event.epcs)
    )
    return tuple(Custody(lot, outward, partner, document, *amount) for lot, amount in what.items())


def _what(
    quantities: Sequence[Quantity], epcs: Iterable[str]
) -> dict[str, tuple[Decimal | None, str | None]]:
    """Return each lot and instance once, with its quantity where one unit says it."""
    found: dict[str, tuple[Decimal | None, str | None]] = {}
    for one in quantities:
        known = found.get(one.epc_class)
        if known is None:
            found[one.epc_class] = (one.quantity, one.uom)
        elif known[0] is not None and one.quantity is not None and known[1] == one.uom:
            found[one.epc_class] = (known[0] + one.quantity, one.uom)
        else:
            found[one.epc_class] = (None, None)
    for epc in epcs:
        found.setdefault(epc, (None, None))
    return found
