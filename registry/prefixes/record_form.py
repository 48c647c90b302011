"""A signed record as JSON, for what travels between nodes: the copy of `0.NA/<prefix>` and the hand-over bundle.

The form is independent of how rows are stored, carries every value with its salt, and keeps the signature, so that
the receiver verifies the very bytes the signer signed.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from registry.errors import MalformedError
from registry.identifier import Identifier
from registry.record import Record, RecordSignature, Status
from registry.value import Scope, TtlType, Value, Visibility

__all__ = ["from_form", "to_form"]


def to_form(record: Record) -> dict[str, Any]:
    """Return the JSON form of a record."""
    return {
        "identifier": record.identifier.text,
        "kind": record.kind,
        "version": record.version,
        "status": record.status.value,
        "modified": record.modified,
        "values": [_value_form(value) for value in record.values],
        "signature": _signature_form(record.signature) if record.signature else None,
    }


def from_form(form: Mapping[str, Any], *, field: str) -> Record:
    """Read the JSON form of a record.

    Raises:
        MalformedError: a member is missing or of the wrong type.
    """
    try:
        return Record(
            identifier=Identifier.parse(form["identifier"]),
            kind=str(form["kind"]),
            version=int(form["version"]),
            status=Status(form["status"]),
            values=tuple(_value(value) for value in form["values"]),
            modified=int(form["modified"]),
            signature=_signature(form["signature"]) if form["signature"] else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError(
            "registry.prefixes.record_unreadable", field=field, reason=repr(error)
        ) from error


def _value_form(value: Value) -> dict[str, Any]:
    return {
        "index": value.index,
        "type": value.type,
        "data": b64encode(value.data).decode(),
        "ttl": value.ttl,
        "ttlType": value.ttl_type.value,
        "timestamp": value.timestamp,
        "permissions": value.permissions,
        "references": value.references,
        "scope": value.visibility.scope.value,
        "prefixes": value.visibility.prefixes,
        "salt": b64encode(value.salt).decode(),
    }


def _value(form: Mapping[str, Any]) -> Value:
    return Value(
        index=int(form["index"]),
        type=str(form["type"]),
        data=b64decode(form["data"], validate=True),
        ttl=int(form["ttl"]),
        ttl_type=TtlType(form["ttlType"]),
        timestamp=int(form["timestamp"]),
        permissions=int(form["permissions"]),
        references=tuple((str(handle), int(index)) for handle, index in form["references"]),
        visibility=Visibility(Scope(form["scope"]), tuple(str(name) for name in form["prefixes"])),
        salt=b64decode(form["salt"], validate=True),
    )


def _signature_form(signature: RecordSignature) -> dict[str, Any]:
    restricted = signature.restricted
    return {
        "alg": signature.alg,
        "kid": signature.kid,
        "issuer": signature.issuer,
        "public": b64encode(signature.public).decode(),
        "restricted": b64encode(restricted).decode() if restricted else None,
    }


def _signature(form: Mapping[str, Any]) -> RecordSignature:
    restricted = form["restricted"]
    return RecordSignature(
        alg=str(form["alg"]),
        kid=str(form["kid"]),
        issuer=str(form["issuer"]),
        public=b64decode(form["public"], validate=True),
        restricted=b64decode(restricted, validate=True) if restricted else None,
    )
