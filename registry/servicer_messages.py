"""Protobuf messages ↔ domain objects: values, records, tombstones, errors, drafts, results, audit entries.

Pairs of plain functions, `x_to_message` and `x_from_message`. A message that breaks the data model is refused with
the path of the field (`values[3].ttl`). An error another node sent keeps its kind, code and texts when it is passed
on; an internal error is told in short.
"""

import math
from collections.abc import Iterable
from typing import Any

from proto import resolver_pb2 as pb
from registry.errors import HazlinkError, InternalError, InvalidValueError, Kind
from registry.record import Record, Tombstone
from registry.value import Scope, TtlType, Value, Visibility

__all__ = [
    "REPORTED",
    "error_from_message",
    "error_to_message",
    "record_to_message",
    "tombstone_from_message",
    "tombstone_to_message",
    "value_from_message",
    "value_to_message",
    "values_from_messages",
    "visibility_from_message",
    "visibility_to_message",
]

#: Code of an error that another node reported; its own code, kind and texts are among the params.
REPORTED = "registry.servicer.reported"

_MAX_TTL = (1 << 31) - 1


def _classes(root: type[HazlinkError]) -> Iterable[type[HazlinkError]]:
    for child in root.__subclasses__():
        yield child
        yield from _classes(child)


_CLASS_OF: dict[str, type[HazlinkError]] = {
    cls.kind.value: cls for cls in reversed([*_classes(HazlinkError)])
}


def visibility_to_message(visibility: Visibility) -> Any:
    """Return the message of a visibility."""
    return pb.Visibility(scope=f"SCOPE_{visibility.scope.name}", prefixes=visibility.prefixes)


def visibility_from_message(message: Any, *, field: str = "visibility") -> Visibility:
    """Read a visibility.

    Raises:
        InvalidValueError: an unknown scope, or prefixes that do not go with it.
    """
    try:
        scope = Scope(message.scope)
    except ValueError:
        raise InvalidValueError(
            "registry.servicer.scope", field=f"{field}.scope", value=message.scope
        ) from None
    prefixes = tuple(message.prefixes)
    if bool(prefixes) != (scope is Scope.PREFIXES):
        raise InvalidValueError(
            "registry.servicer.scope_prefixes", field=f"{field}.prefixes", scope=scope.name.lower()
        )
    return Visibility(scope, prefixes)


def value_to_message(value: Value) -> Any:
    """Return the message of a value, salt included."""
    message = pb.Value(
        index=value.index,
        type=value.type,
        data=value.data,
        ttl=value.ttl,
        ttl_absolute=value.ttl_type is TtlType.ABSOLUTE,
        timestamp=value.timestamp,
        permissions=value.permissions,
        salt=value.salt,
    )
    for handle, index in value.references:
        message.references.add(handle=handle, index=index)
    if not value.visibility.is_public:
        message.visibility.CopyFrom(visibility_to_message(value.visibility))
    return message


def value_from_message(message: Any, *, field: str = "value") -> Value:
    """Read a value exactly as it was sent: nothing is filled in, so that its digest can be checked.

    Raises:
        InvalidValueError: index 0, no type, a negative ttl, an unknown scope.
    """
    if not message.index:
        raise InvalidValueError("registry.servicer.index", field=f"{field}.index")
    if not message.type:
        raise InvalidValueError("registry.servicer.type", field=f"{field}.type")
    if not 0 <= message.ttl <= _MAX_TTL:
        raise InvalidValueError("registry.servicer.ttl", field=f"{field}.ttl", value=message.ttl)
    return Value(
        index=message.index,
        type=message.type,
        data=message.data,
        ttl=message.ttl,
        ttl_type=TtlType.ABSOLUTE if message.ttl_absolute else TtlType.RELATIVE,
        timestamp=message.timestamp,
        permissions=message.permissions,
        references=tuple((r.handle, r.index) for r in message.references),
        visibility=visibility_from_message(message.visibility, field=f"{field}.visibility"),
        salt=message.salt,
    )


def values_from_messages(messages: Iterable[Any], *, field: str = "values") -> tuple[Value, ...]:
    """Read values; errors name `values[n]`.

    Raises:
        InvalidValueError: as `value_from_message`.
    """
    return tuple(value_from_message(m, field=f"{field}[{n}]") for n, m in enumerate(messages))


def record_to_message(
    record: Record, *, values: Iterable[Value] | None = None, withheld: Iterable[int] = ()
) -> Any:
    """Return the message of a record.

    Args:
        record: the record.
        values: the values to show, when not all of them.
        withheld: indexes that exist and are not shown.
    """
    return pb.Record(
        identifier=record.identifier.text,
        kind=record.kind,
        version=record.version,
        modified=record.modified,
        values=[value_to_message(v) for v in (record.values if values is None else values)],
        withheld=withheld,
    )


def tombstone_to_message(tombstone: Tombstone) -> Any:
    """Return the message of a tombstone."""
    return pb.Tombstone(
        state=tombstone.state,
        by=tombstone.by,
        reason=tombstone.reason,
        at=tombstone.at,
        replaced_by=tombstone.replaced_by,
    )


def tombstone_from_message(message: Any) -> Tombstone:
    """Read a tombstone."""
    return Tombstone(
        state=message.state,
        by=message.by,
        reason=message.reason,
        at=message.at,
        replaced_by=tuple(message.replaced_by),
    )


def error_to_message(error: HazlinkError) -> Any:
    """Return the message of an error, in both languages; a reported one is passed on as it came."""
    retry = math.ceil(error.retry_after) if error.retry_after is not None else 0
    if error.code == REPORTED:
        return pb.Error(
            kind=error.kind.value,
            code=str(error.params["reported_code"]),
            message_en=str(error.params["message_en"]),
            message_zh=str(error.params["message_zh"]),
            retry_after_seconds=retry,
        )
    if error.kind is Kind.INTERNAL:
        error = InternalError("registry.servicer.internal")
    return pb.Error(
        kind=error.kind.value,
        code=error.code,
        message_en=error.message("en"),
        message_zh=error.message("zh"),
        retry_after_seconds=retry,
    )


def error_from_message(message: Any, *, field: str | None = None) -> HazlinkError:
    """Read an error another node sent; a kind from a newer node counts as unavailable."""
    cls = _CLASS_OF.get(message.kind, _CLASS_OF[Kind.UNAVAILABLE.value])
    return cls(
        REPORTED,
        field=field,
        retry_after=message.retry_after_seconds or None,
        reported_code=message.code,
        message_en=message.message_en or message.message_zh or message.code,
        message_zh=message.message_zh or message.message_en or message.code,
    )
