"""Messages of the writing door ↔ domain objects: drafts, results, audit entries.

What a writer sends is read more freely than what a node sends: a ttl or permissions left out mean the default,
the public-read bit follows the visibility, timestamp and salt are the registry's to set.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from proto import registry_pb2 as pb
from registry.errors import InvalidValueError
from registry.record import Draft
from registry.results import AuditEntry, IfPresent, Result, SetMode
from registry.servicer_messages import error_to_message, record_to_message, value_from_message
from registry.value import DEFAULT_PERMISSIONS, DEFAULT_TTL_SECONDS, Value

__all__ = [
    "draft_from_message",
    "entry_to_message",
    "if_present_from_message",
    "mode_from_message",
    "new_values_from_messages",
    "result_to_message",
]

_MAX_PERMISSIONS = 15


def new_values_from_messages(messages: Iterable[Any], *, field: str = "values") -> tuple[Value, ...]:
    """Read values that somebody wants to write.

    Raises:
        InvalidValueError: a value that breaks the data model; `field` names it.
    """
    return tuple(_new_value(m, f"{field}[{n}]") for n, m in enumerate(messages))


def _new_value(message: Any, path: str) -> Value:
    value = value_from_message(message, field=path)
    if value.permissions > _MAX_PERMISSIONS:
        raise InvalidValueError(
            "registry.servicer.permissions", field=f"{path}.permissions", value=value.permissions
        )
    filled = replace(
        value,
        ttl=value.ttl if message.HasField("ttl") else DEFAULT_TTL_SECONDS,
        permissions=value.permissions if message.HasField("permissions") else DEFAULT_PERMISSIONS,
        timestamp=0,
        salt=b"",
    )
    return filled.seen_as(filled.visibility)


def draft_from_message(message: Any) -> Draft:
    """Read a draft.

    Raises:
        InvalidValueError: a value that breaks the data model.
    """
    return Draft(
        identifier=message.identifier,
        kind=message.kind or None,
        values=new_values_from_messages(message.values),
        fields=dict(message.fields),
    )


def if_present_from_message(number: int, *, field: str = "if_present") -> IfPresent:
    """Read what to do with a record that is there.

    Raises:
        InvalidValueError: an unknown number.
    """
    try:
        return IfPresent(number)
    except ValueError:
        raise InvalidValueError("registry.servicer.choice", field=field, value=number) from None


def mode_from_message(number: int, *, field: str = "mode") -> SetMode:
    """Read how values are set.

    Raises:
        InvalidValueError: an unknown number.
    """
    try:
        return SetMode(number)
    except ValueError:
        raise InvalidValueError("registry.servicer.choice", field=field, value=number) from None


def result_to_message(result: Result) -> Any:
    """Return the message of a result."""
    message = pb.Result(identifier=result.identifier, done=f"DONE_{result.done.name}", version=result.version)
    if result.error is not None:
        message.error.CopyFrom(error_to_message(result.error))
        message.field = result.error.field or ""
    return message


def entry_to_message(entry: AuditEntry) -> Any:
    """Return the message of an audit entry; salts stay in the node."""
    message = pb.HistoryEntry(
        position=entry.position,
        at=entry.at,
        who=entry.who,
        action=entry.action,
        identifier=entry.identifier.text,
    )
    if entry.before is not None:
        message.before.CopyFrom(record_to_message(entry.before, values=_unsalted(entry.before.values)))
    if entry.after is not None:
        message.after.CopyFrom(record_to_message(entry.after, values=_unsalted(entry.after.values)))
    return message


def _unsalted(values: Iterable[Value]) -> tuple[Value, ...]:
    return tuple(replace(value, salt=b"") for value in values)
