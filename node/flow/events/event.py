"""One EPCIS 2.0 event as the ledger and the genealogy read it, beside the whole as it came.

`read` takes an event that `node.flow.events.document` has judged: it asks nothing twice, it only reads. Words of the
Core Business Vocabulary come out bare (`departing`), whatever of their three spellings was written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from node.flow.events.moments import instant
from node.flow.events.vocabulary import bare

__all__ = ["Declaration", "Event", "Quantity", "read"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """So much of a class: the number exactly as written, `uom` None for a count, `quantity` None for "some"."""

    epc_class: str
    quantity: Decimal | None
    uom: str | None


@dataclass(frozen=True, slots=True)
class Declaration:
    """An error declaration: the assertions of the event with the same id are void since `time`."""

    time: datetime
    reason: str | None
    corrective_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One EPCIS 2.0 event: the parts that ledger and genealogy read, beside the whole as it came.

    Attributes:
        type: ObjectEvent, AggregationEvent, TransactionEvent, TransformationEvent, AssociationEvent, or a URI.
        event_id: its `eventID`, or its hash where none was given.
        hash: `ni:///sha-256;…?ver=CBV2.0`.
        time: when it happened, UTC.
        offset: the offset of the clock on the wall there, `+08:00`.
        biz_step: the bare word, or a URI; so for `disposition` and the types of transactions, sources, destinations.
        transactions: (type, identifier) each; sources and destinations alike.
        content: the event as it came, numbers as `Decimal`: stored and returned without loss.
        context: the `@context` that says what the names in `content` mean, as it came.
    """

    type: str
    event_id: str
    hash: str
    time: datetime
    offset: str
    action: str | None
    biz_step: str | None
    disposition: str | None
    read_point: str | None
    biz_location: str | None
    epcs: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    parent: str | None
    child_epcs: tuple[str, ...]
    child_quantities: tuple[Quantity, ...]
    input_epcs: tuple[str, ...]
    input_quantities: tuple[Quantity, ...]
    output_epcs: tuple[str, ...]
    output_quantities: tuple[Quantity, ...]
    transformation_id: str | None
    transactions: tuple[tuple[str | None, str], ...]
    sources: tuple[tuple[str, str], ...]
    destinations: tuple[tuple[str, str], ...]
    declaration: Declaration | None
    record_time: datetime | None
    content: Mapping[str, Any]
    context: Any = None


def read(content: Mapping[str, Any], event_hash: str, context: Any = None) -> Event:
    """Return the event in `content`, which has been validated, under its hash."""
    get = content.get
    record_time = get("recordTime")
    return Event(
        type=content["type"],
        event_id=get("eventID") or event_hash,
        hash=event_hash,
        time=_utc(content["eventTime"]),
        offset=content["eventTimeZoneOffset"],
        action=get("action"),
        biz_step=_word(get("bizStep")),
        disposition=_word(get("disposition")),
        read_point=_id(get("readPoint")),
        biz_location=_id(get("bizLocation")),
        epcs=tuple(get("epcList", ())),
        quantities=_quantities(get("quantityList")),
        parent=get("parentID"),
        child_epcs=tuple(get("childEPCs", ())),
        child_quantities=_quantities(get("childQuantityList")),
        input_epcs=tuple(get("inputEPCList", ())),
        input_quantities=_quantities(get("inputQuantityList")),
        output_epcs=tuple(get("outputEPCList", ())),
        output_quantities=_quantities(get("outputQuantityList")),
        transformation_id=get("transformationID"),
        transactions=tuple(
            (_word(pair.get("type")), pair["bizTransaction"]) for pair in get("bizTransactionList", ())
        ),
        sources=tuple((bare(pair["type"]), pair["source"]) for pair in get("sourceList", ())),
        destinations=tuple((bare(pair["type"]), pair["destination"]) for pair in get("destinationList", ())),
        declaration=_declaration(get("errorDeclaration")),
        record_time=_utc(record_time) if record_time else None,
        content=content,
        context=context,
    )


def _utc(written: str) -> datetime:
    return instant(written).astimezone(UTC)


def _word(written: str | None) -> str | None:
    return bare(written) if written else None


def _id(place: Mapping[str, Any] | None) -> str | None:
    return place["id"] if place else None


def _quantities(elements: list[Mapping[str, Any]] | None) -> tuple[Quantity, ...]:
    if not elements:
        return ()
    return tuple(
        Quantity(
            element["epcClass"],
            Decimal(element["quantity"]) if "quantity" in element else None,
            element.get("uom"),
        )
        for element in elements
    )


def _declaration(content: Mapping[str, Any] | None) -> Declaration | None:
    if content is None:
        return None
    return Declaration(
        _utc(content["declarationTime"]),
        _word(content.get("reason")),
        tuple(content.get("correctiveEventIDs", ())),
    )
