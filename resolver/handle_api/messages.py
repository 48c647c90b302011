"""The JSON of the Handle API: values, answers and refusals (the project's facts on identifiers, §2 and §3).

Beyond what the API has always said, an answer carries the member `resolution`: how fresh it is, which version and
kind stand there, and whose signature and chain vouch for it. Clients of the plain API skip what they do not know.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from registry.errors import HANDLE_CODE, HazlinkError, InternalError, InvalidValueError, Kind, RateLimitError
from registry.language import Language
from registry.principal import Principal
from registry.record import Tombstone
from registry.structured import structure_of, to_json
from registry.value import DEFAULT_PERMISSIONS, Scope, TtlType, Value
from resolver.answer import Answer, Proof

__all__ = [
    "CODE_STATUS",
    "CORS",
    "Refusal",
    "answer_bytes",
    "answer_tail",
    "describes",
    "keeping",
    "refusal",
    "rendered",
    "value_to_json",
]

#: Handle response code → HTTP status (facts §3).
CODE_STATUS: dict[int, int] = {
    1: 200, 2: 500, 3: 503, 4: 400, 5: 501, 6: 500, 7: 503,
    100: 404, 101: 409, 102: 400,
    200: 400, 201: 409, 202: 400,
    300: 500, 301: 400, 302: 300, 303: 300,
    400: 403, 401: 403, 402: 401, 403: 403, 404: 403, 405: 500, 406: 500,
}  # fmt: skip

#: On every answer of this door: any page may read, none may send credentials along.
CORS = {"Access-Control-Allow-Origin": "*"}

_JSON, _SCRIPT = "application/json;charset=UTF-8", "application/javascript;charset=UTF-8"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_$]")
_PATHS = re.compile(r"/(?:api/(?:handles|prefixes|site|sessions|verifications)|hrls)(?:/|$)")
_CHALLENGE = 'Basic realm="handle", charset="UTF-8"'
#: Refusals that ask for a login; every other UnauthenticatedError means that what was shown did not hold.
_LOGIN_NEEDED = frozenset({"registry.access.login_needed", "resolver.handle_api.hidden"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal ready to be sent.

    Attributes:
        status: HTTP status.
        headers: beside the content type.
        content: the envelope; None for an empty body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, Any] | None = None


def describes(path: str) -> bool:
    """Say whether a request path belongs to this door, so that its refusals take this door's form."""
    return _PATHS.match(path) is not None


def keeping(principal: Principal) -> dict[str, str]:
    """Return the headers that say who may keep an answer: what somebody known was shown is for nobody else."""
    varying = {"Vary": "Authorization"}
    return varying if principal.is_anonymous else varying | {"Cache-Control": "private, no-store"}


def refusal(
    error: HazlinkError, handle: str | None, language: Language = "en", tombstone: Tombstone | None = None
) -> Refusal:
    """Return a refusal in the envelope `{responseCode, handle, message}`; the text of our own mistakes stays here."""
    headers = dict(CORS)
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    elif isinstance(error, RateLimitError):
        headers["Retry-After"] = "1"
    if error.kind is Kind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = _CHALLENGE
        if error.code not in _LOGIN_NEEDED and not error.field:
            # Wrong credentials: clients expect 401 and nothing else. A refusal that says where it is wrong is told.
            return Refusal(401, headers)
    code = HANDLE_CODE[error.kind]
    shown = InternalError("resolver.handle_api.internal") if error.kind is Kind.INTERNAL else error
    content: dict[str, Any] = {"responseCode": code}
    if handle is not None:
        content["handle"] = handle
    content["message"] = shown.message(language)
    if tombstone is not None:
        content["tombstone"] = orjson.loads(tombstone.to_data())
    return Refusal(CODE_STATUS[code], headers, content)


def rendered(
    content: bytes | Mapping[str, Any] | list[str], *, pretty: str | None = None, callback: str | None = None
) -> tuple[bytes, str]:
    """Return JSON and its media type; indented, or wrapped in a call (its name scrubbed), where that is asked for."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    if pretty is not None and pretty.lower() not in {"false", "0"}:
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    name = _NOT_IN_A_NAME.sub("", callback or "")
    if name:
        return name.encode() + b"(" + body + b");", _SCRIPT
    return body, _JSON


def value_to_json(value: Value) -> dict[str, Any]:
    """Return the JSON of one value."""
    shown: dict[str, Any] = {
        "index": value.index,
        "type": value.type,
        "data": _data(value),
        "ttl": value.ttl if value.ttl_type is TtlType.RELATIVE else _iso(value.ttl),
        "timestamp": _iso(value.timestamp),
    }
    if value.permissions != DEFAULT_PERMISSIONS:
        shown["permissions"] = f"{value.permissions:04b}"
    if value.references:
        shown["references"] = [{"handle": handle, "index": index} for handle, index in value.references]
    scope = value.visibility.scope
    if scope is Scope.PREFIXES:
        shown["visibility"] = list(value.visibility.prefixes)
    elif scope is not Scope.PUBLIC:
        shown["visibility"] = scope.name.lower()
    return shown


def answer_tail(answer: Answer, *, proof: bool = False) -> bytes:
    """Return the body for a record that was found, from after the handle on.

    It is the same under whatever spelling and at whatever age the record is asked for: the age goes into the header
    `Age`, so that a tail can be kept and served again.
    """
    record = answer.record
    if record is None:  # a mistake of the caller: only a record has values
        raise InternalError("resolver.handle_api.internal")
    standing: dict[str, Any] = {
        "source": answer.source.name.lower(),
        "version": record.version,
        "status": record.status.name.lower(),
        "kind": record.kind,
        "modified": _iso(record.modified),
        "registered": record.identifier.text,
    }
    if answer.proof is not None:
        standing |= _vouching(answer.proof)
    if answer.withheld:
        standing["withheld"] = list(answer.withheld)
    rest: dict[str, Any] = {
        "values": [value_to_json(value) for value in record.values],
        "resolution": standing,
    }
    if proof and answer.proof is not None:
        rest["proof"] = _proof(answer.proof)
    return b"," + orjson.dumps(rest)[1:]


def answer_bytes(answer: Answer, *, proof: bool = False) -> bytes:
    """Return the whole body for a record that was found: response code 1, or 200 when no value is left to show."""
    code = b"1" if answer.record is not None and answer.record.values else b"200"
    opening = b'{"responseCode":' + code + b',"handle":'
    return opening + orjson.dumps(answer.asked) + answer_tail(answer, proof=proof)


def _vouching(proof: Proof) -> dict[str, Any]:
    return {"issuer": proof.issuer.key, "chain": proof.chain_sha256}


def _proof(proof: Proof) -> dict[str, Any]:
    shown: dict[str, Any] = {"publicJws": proof.public_jws}
    if proof.restricted_jws:
        shown["restrictedJws"] = proof.restricted_jws
    return shown | _vouching(proof) | {"statements": list(proof.chain)}


def _data(value: Value) -> dict[str, Any]:
    structure = structure_of(value.type)
    if structure is not None:
        try:
            return {"format": structure, "value": to_json(structure, value.data)}
        except InvalidValueError:
            # Somebody registered other bytes under that type: shown as they are.
            structure = None
    text = value.text
    if text is not None:
        return {"format": "string", "value": text}
    return {"format": "base64", "value": b64encode(value.data).decode()}


@lru_cache(maxsize=4096)
def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
