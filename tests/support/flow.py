"""Events to write into a book, as short as they can be said."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from node.flow.events.event import read

START = datetime(2026, 3, 1, tzinfo=UTC)
OWNER = "88.107.1001"
HOST = "https://a.test"
MICRO = 1_000_000


def lot(name, prefix=OWNER):
    return f"{HOST}/{prefix}/class/{name}"


def thing(name, prefix=OWNER):
    return f"{HOST}/{prefix}/obj/{name}"


def place(name, prefix=OWNER):
    return f"{HOST}/{prefix}/loc/{name}"


def party(prefix, name="C"):
    return f"{HOST}/{prefix}/pty/{name}"


def waybill(name, prefix=OWNER):
    return f"{HOST}/{prefix}/bt/{name}"


def some(name, qty, uom="KGM", prefix=OWNER):
    one = {"epcClass": name if "/" in name else lot(name, prefix), "quantity": Decimal(str(qty))}
    return one | ({"uom": uom} if uom else {})


def at(hours):
    return START + timedelta(hours=float(hours))


def micros(hours):
    return int(at(hours).timestamp() * MICRO)


def hashed(content):
    """A hash as CBV would have it in shape: blind for id, declaration and time of record."""
    told = {k: v for k, v in content.items() if k not in {"eventID", "errorDeclaration", "recordTime"}}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return f"ni:///sha-256;{digest}?ver=CBV2.0"


def an_event(kind="ObjectEvent", *, hours=0, event_id=None, **members):
    content = {
        "type": kind,
        "eventTime": at(hours).isoformat().replace("+00:00", "Z"),
        "eventTimeZoneOffset": "+08:00",
        **({"eventID": event_id} if event_id else {}),
        **members,
    }
    return read(content, hashed(content))


def declared(event, *, reason="did_not_occur", corrective=()):
    """The error declaration of an event."""
    declaration = {"declarationTime": "2026-06-01T00:00:00Z", "reason": reason}
    if corrective:
        declaration["correctiveEventIDs"] = list(corrective)
    return read({**event.content, "errorDeclaration": declaration}, event.hash)


def made(name, qty, uom="KGM", *, hours=0, loc="store", **members):
    return an_event(
        hours=hours, action="ADD", bizStep="commissioning", quantityList=[some(name, qty, uom)],
        bizLocation={"id": place(loc)}, **members,
    )  # fmt: skip


def gone(name, qty, uom="KGM", *, step="destroying", hours=0, loc="store", **members):
    return an_event(
        hours=hours, action="DELETE", bizStep=step, quantityList=[some(name, qty, uom)],
        bizLocation={"id": place(loc)}, **members,
    )  # fmt: skip


def moved(step, name, qty, uom="KGM", *, bill="W1", hours=0, loc="store", **members):
    """A dispatch or receipt."""
    if bill:
        members["bizTransactionList"] = [{"type": "bol", "bizTransaction": waybill(bill)}]
    return an_event(
        hours=hours, action="OBSERVE", bizStep=step, quantityList=[some(name, qty, uom)],
        bizLocation={"id": place(loc)}, **members,
    )  # fmt: skip


def counted(name, qty, uom="KGM", *, hours=0, loc="store", **members):
    return an_event(
        hours=hours, action="OBSERVE", bizStep="cycle_counting", quantityList=[some(name, qty, uom)],
        bizLocation={"id": place(loc)}, **members,
    )  # fmt: skip


def ran(inputs, outputs, *, run=None, hours=0, loc="store", **members):
    """A run: {lot: quantity} in and out, in kilograms."""
    if run:
        members["transformationID"] = run
    if inputs:
        members["inputQuantityList"] = [some(name, qty) for name, qty in inputs.items()]
    if outputs:
        members["outputQuantityList"] = [some(name, qty) for name, qty in outputs.items()]
    return an_event("TransformationEvent", hours=hours, bizLocation={"id": place(loc)}, **members)
