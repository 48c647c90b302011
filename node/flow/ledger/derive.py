"""Double-entry lines from one event: nothing is asked but the event, its book and the time of its arrival.

Rules (the project's facts file on traceability, section 6):

- every move is two lines that cancel, so an event sums to zero per batch; a run takes its inputs and gives its
  outputs on an account of its own, whose mass closes when the run is complete;
- produced: ObjectEvent ADD; gone: DELETE, destroying, dispensing, sampling;
- dispatch (shipping before departing) moves stock into transit under its waybill, receipt (receiving before arriving)
  moves the quantity received out of it; the rest stays in transit until it is booked otherwise;
- `void_shipping` takes back exactly what a dispatch of the same goods would have said;
- counting states the stock; the difference is found when it is posted, because it depends on what else is booked;
- a TransactionEvent between two owners moves ownership, in its own book;
- an event that names quantities has its instances as vessels of these: they are not counted a second time;
- what is wrong is noted, never repaired: a quantity that cannot be booked exactly gives no line, and a note.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from node.flow.events.event import Event, Quantity
from node.flow.ledger.lines import Account, Booking, Count, Leg, Line, Note, Side
from node.flow.ledger.measures import EXACT, PIECE, amount_of, known
from node.flow.ledger.parties import holder_of, prefix_of

__all__ = ["DEFAULT_TOLERANCE", "derive", "microseconds"]

#: How far a clock out there may be ahead of ours, in microseconds.
DEFAULT_TOLERANCE = 300_000_000
#: More digits than any scale weighs to.
_MAX_DIGITS = 30
_MAX_EXPONENT = 18

_DISPATCH = {"shipping": 2, "departing": 1}
_RECEIPT = {"receiving": 2, "arriving": 1}
_COUNTS = frozenset({"cycle_counting", "stock_taking"})
_GONE = {"destroying": Account.DESTROYED, "dispensing": Account.USED, "sampling": Account.SAMPLED}
_MOVES = frozenset({"storing", "stocking"})
#: The document under which goods travel, the most telling first.
_WAYBILLS = ("bol", "desadv", "recadv")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DENSITY_UNITS = {"KMQ": Decimal(1), "GL": Decimal(1), "23": Decimal(1000), "B35": Decimal(1)}


def microseconds(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    gone = moment - _EPOCH
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


def derive(event: Event, owner: str, t_record: int, tolerance: int = DEFAULT_TOLERANCE) -> Booking:
    """Return what an event says about quantities.

    Args:
        event: one whose assertions stand; its error declaration is not looked at.
        owner: the homed prefix in whose book it is, folded; who holds what nobody else is said to hold.
        t_record: when it came, microseconds since 1970.
        tolerance: how far its time may lie after that.
    """
    return _Reader(event, owner, t_record, tolerance).read()


class _Place(NamedTuple):
    account: Account
    holder: str = ""
    location: str = ""
    document: str = ""


class _Item(NamedTuple):
    batch: str
    qty: Decimal
    uom: str
    kg: Decimal | None


class _Reader:
    """One event being read; holds what was said so far."""

    __slots__ = ("_at", "_counts", "_event", "_legs", "_lines", "_notes", "_number", "_owner", "_record")

    def __init__(self, event: Event, owner: str, t_record: int, tolerance: int) -> None:
        self._event = event
        self._owner = owner
        self._at = microseconds(event.time)
        self._record = t_record
        self._lines: list[Line] = []
        self._legs: list[Leg] = []
        self._counts: list[Count] = []
        self._notes: list[Note] = []
        self._number = 0
        if self._at > t_record + tolerance:
            self._note("future_time", time=event.time.isoformat())

    def read(self) -> Booking:
        event = self._event
        if event.type == "TransformationEvent":
            self._run()
        elif event.type in {"ObjectEvent", "AggregationEvent", "TransactionEvent"}:
            self._step(event.biz_step or "")
        return Booking(tuple(self._lines), tuple(self._legs), tuple(self._counts), tuple(self._notes))

    def _step(self, step: str) -> None:
        event = self._event
        if step in _DISPATCH:
            self._dispatch(_DISPATCH[step])
        elif step == "void_shipping":
            self._void_dispatch()
        elif step in _RECEIPT:
            self._receipt(_RECEIPT[step])
        elif event.type == "ObjectEvent":
            self._object(step)
        if event.type == "TransactionEvent" and event.action in {"ADD", "DELETE"}:
            self._ownership()

    # ObjectEvent ---------------------------------------------------------------------------------------------------

    def _object(self, step: str) -> None:
        action = self._event.action
        if step in _COUNTS:
            stock = self._stock(self._event.destinations)
            for item in self._what(zero=True):
                self._counts.append(Count(stock.holder, stock.location, *item))
        elif step in _GONE or action == "DELETE":
            self._gone(_GONE.get(step, Account.RETIRED))
        elif action == "ADD":
            stock = self._stock(self._event.destinations)
            for item in self._what():
                self._own(item.batch)
                self._move(item, _Place(Account.PRODUCED, stock.holder), stock)
        elif step in _MOVES:
            self._within()

    def _gone(self, where: Account) -> None:
        """Out of stock; what is stolen or destroyed under a waybill goes out of transit."""
        document = self._waybill()
        lost = self._event.disposition in {"stolen", "destroyed", "damaged", "unavailable"}
        if document and lost:
            origin, target = _Place(Account.TRANSIT, document=document), Account.LOST
        else:
            origin = self._stock(self._event.sources)
            target = Account.LOST if self._event.disposition == "stolen" else where
        for item in self._what():
            self._move(item, origin, _Place(target, origin.holder, document=origin.document))

    def _within(self) -> None:
        """From one place of storage to another; an observation without an origin moves nothing."""
        if _party(self._event.sources, "location") is None:
            return
        origin, target = self._stock(self._event.sources), self._stock(self._event.destinations)
        if origin == target:
            self._note("same_place", location=origin.location)
            return
        for item in self._what():
            self._move(item, origin, target)

    # Transport -----------------------------------------------------------------------------------------------------

    def _dispatch(self, rank: int) -> None:
        stock, document = self._stock(self._event.sources), self._waybill()
        transit = _Place(Account.TRANSIT, document=document)
        for item in self._what():
            self._leg(Side.DISPATCH, rank, item, stock, transit)

    def _void_dispatch(self) -> None:
        stock, document = self._stock(self._event.sources), self._waybill()
        for item in self._what():
            self._move(item, _Place(Account.TRANSIT, document=document), stock)

    def _receipt(self, rank: int) -> None:
        stock, document = self._stock(self._event.destinations), self._waybill()
        transit = _Place(Account.TRANSIT, document=document)
        for item in self._what():
            self._leg(Side.RECEIPT, rank, item, transit, stock)

    def _leg(self, side: Side, rank: int, item: _Item, origin: _Place, target: _Place) -> None:
        document = origin.document or target.document
        if not document:
            # nothing says which other event tells of the same load
            self._move(item, origin, target)
            return
        lines = (self._line(item, origin, -1), self._line(item, target, 1))
        self._legs.append(Leg(document, item.batch, side, rank, lines))

    # Runs and ownership --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        event = self._event
        stock = self._stock(event.sources)
        run = _Place(Account.RUN, stock.holder, document=event.transformation_id or event.event_id)
        inputs = self._items(event.input_quantities, event.input_epcs)
        outputs = self._items(event.output_quantities, event.output_epcs)
        for batch in sorted({item.batch for item in inputs} & {item.batch for item in outputs}):
            self._note("own_ingredient", batch=batch)
        for item in inputs:
            self._move(item, stock, run)
        made = self._stock(event.destinations)
        for item in outputs:
            self._own(item.batch)
            self._move(item, run, made)

    def _ownership(self) -> None:
        event = self._event
        seller, buyer = _party(event.sources, "owning_party"), _party(event.destinations, "owning_party")
        if seller is None or buyer is None:
            return
        origin, target = _Place(Account.OWNED, holder_of(seller)), _Place(Account.OWNED, holder_of(buyer))
        if event.action == "DELETE":
            origin, target = target, origin
        for item in self._items(event.quantities, event.epcs):
            self._move(item, origin, target)

    # Reading -------------------------------------------------------------------------------------------------------

    def _what(self, *, zero: bool = False) -> list[_Item]:
        event = self._event
        if event.type == "AggregationEvent":
            return self._items(event.child_quantities, event.child_epcs)
        return self._items(event.quantities, event.epcs, zero=zero)

    def _items(
        self, quantities: Sequence[Quantity], epcs: Iterable[str], *, zero: bool = False
    ) -> list[_Item]:
        if not quantities:
            return [_Item(epc, Decimal(1), PIECE, None) for epc in epcs]
        items = [item for item in map(self._item, quantities) if item is not None]
        return items if zero else [item for item in items if item.qty]

    def _item(self, quantity: Quantity) -> _Item | None:
        batch, qty = quantity.epc_class, quantity.quantity
        if qty is None:
            self._note("no_quantity", batch=batch)
            return None
        if qty < 0:
            self._note("negative_quantity", batch=batch, quantity=str(qty))
            return None
        _, digits, exponent = qty.as_tuple()
        if len(digits) > _MAX_DIGITS or not isinstance(exponent, int) or abs(exponent) > _MAX_EXPONENT:
            self._note("quantity_too_long", batch=batch)
            return None
        uom = quantity.uom or PIECE
        if not known(uom):
            self._note("unknown_unit", batch=batch, unit=uom)
        return _Item(batch, qty, uom, self._mass(batch, qty, uom))

    def _mass(self, batch: str, qty: Decimal, uom: str) -> Decimal | None:
        amount = amount_of(qty, uom)
        if amount.uom == "KGM":
            return amount.qty
        if amount.uom != "MTQ":
            return None
        density = _density(self._event)
        if density is None:
            self._note("mass_unknown", batch=batch)
            return None
        return EXACT.multiply(amount.qty, density)

    def _stock(self, parties: Sequence[tuple[str, str]]) -> _Place:
        event = self._event
        holder = _party(parties, "possessing_party")
        place = _party(parties, "location") or event.biz_location or event.read_point or ""
        if place.startswith("geo:"):
            place = ""
        return _Place(Account.STOCK, self._owner if holder is None else holder_of(holder), place)

    def _waybill(self) -> str:
        by_type = {kind or "": document for kind, document in reversed(self._event.transactions)}
        return next((by_type[kind] for kind in _WAYBILLS if kind in by_type), "")

    def _own(self, batch: str) -> None:
        prefix = prefix_of(batch)
        if prefix is not None and prefix != self._owner and not prefix.startswith(f"{self._owner}."):
            self._note("foreign_identifier", batch=batch, prefix=prefix)

    # Writing -------------------------------------------------------------------------------------------------------

    def _move(self, item: _Item, origin: _Place, target: _Place) -> None:
        self._lines.append(self._line(item, origin, -1))
        self._lines.append(self._line(item, target, 1))

    def _line(self, item: _Item, place: _Place, sign: int) -> Line:
        batch, qty, uom, kg = item
        if sign < 0:
            qty, kg = qty.copy_negate(), None if kg is None else kg.copy_negate()
        account, holder, location, document = place
        number = self._number
        self._number += 1
        return Line(
            self._event.event_id, number, account, holder, location, document, batch, qty, uom, kg,
            self._at, self._record, None,
        )  # fmt: skip

    def _note(self, name: str, **detail: str) -> None:
        self._notes.append(Note(name, detail))


def _party(parties: Sequence[tuple[str, str]], kind: str) -> str | None:
    return next((uri for of, uri in parties if of == kind), None)


def _density(event: Event) -> Decimal | None:
    """Return the one density, in kg/m3, that was recorded together with a temperature."""
    densities: set[Decimal] = set()
    temperatures = 0
    for element in event.content.get("sensorElementList", ()):
        for report in element.get("sensorReport", ()):
            kind = str(report.get("type", "")).rsplit(":", 1)[-1].rsplit("/", 1)[-1].removeprefix("MT-")
            if kind == "Density" and report.get("uom") in _DENSITY_UNITS and "value" in report:
                densities.add(Decimal(str(report["value"])) * _DENSITY_UNITS[report["uom"]])
            elif kind == "Temperature" and "value" in report:
                temperatures += 1
    return densities.pop() if len(densities) == 1 and temperatures == 1 else None
