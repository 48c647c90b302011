"""The one vocabulary of what can go wrong.

Every refusal is a `HazlinkError` of one `Kind`. It carries the name of a catalogue text (`registry.language`) and
the facts that fill it: `field` says where, `value` what was given, the text says the rule. Each kind is mapped
once to an HTTP status (RFC 9457 problem details), once to a gRPC status and once to a Handle response code
(RFC 3652 and its successor, version 2.10); the maps are total and live here as plain numbers, so that no edge
invents another.

    HazlinkError
    ├── MalformedError          the request cannot be read: syntax, encoding, structure
    │   └── MalformedIdentifierError
    ├── InvalidValueError       readable, but against a template or rule
    ├── NotFoundError           nothing under that name (GoneError: there was, and it has a tombstone)
    ├── ExistsError             the name is taken
    ├── ConflictError           somebody else changed it first (optimistic version)
    ├── UnauthenticatedError    who are you?
    ├── ForbiddenError          we know who you are; no
    ├── UntrustedError          a signature, chain or delegation does not hold
    ├── LimitError              too large, too deep, too many, too often
    ├── UnavailableError        later: busy, a tier is silent, read-only
    ├── NotSupportedError       never, here
    └── InternalError           our fault; logged in full, told in short
"""

from enum import Enum

from registry.language import Language, text

__all__ = [
    "GRPC_STATUS",
    "HANDLE_CODE",
    "HTTP_STATUS",
    "BusyError",
    "ConflictError",
    "ExistsError",
    "ForbiddenError",
    "GoneError",
    "HazlinkError",
    "InternalError",
    "InvalidValueError",
    "Kind",
    "LimitError",
    "LoopError",
    "MalformedError",
    "MalformedIdentifierError",
    "NotFoundError",
    "NotResponsibleError",
    "NotSupportedError",
    "RateLimitError",
    "UnauthenticatedError",
    "UnavailableError",
    "UntrustedError",
    "ValueExistsError",
    "ValueNotFoundError",
]


class Kind(Enum):
    """What sort of refusal this is; the value is the RFC 9457 `type` suffix."""

    MALFORMED = "malformed"
    MALFORMED_IDENTIFIER = "malformed-identifier"
    INVALID_VALUE = "invalid-value"
    NOT_FOUND = "not-found"
    VALUE_NOT_FOUND = "value-not-found"
    GONE = "gone"
    EXISTS = "exists"
    VALUE_EXISTS = "value-exists"
    CONFLICT = "conflict"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_RESPONSIBLE = "not-responsible"
    UNTRUSTED = "untrusted"
    LOOP = "loop"
    LIMIT = "limit"
    RATE = "rate"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    NOT_SUPPORTED = "not-supported"
    INTERNAL = "internal"


#: kind → HTTP status of our own API.
HTTP_STATUS: dict[Kind, int] = {
    Kind.MALFORMED: 400,
    Kind.MALFORMED_IDENTIFIER: 400,
    Kind.INVALID_VALUE: 422,
    Kind.NOT_FOUND: 404,
    Kind.VALUE_NOT_FOUND: 404,
    Kind.GONE: 410,
    Kind.EXISTS: 409,
    Kind.VALUE_EXISTS: 409,
    Kind.CONFLICT: 409,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_RESPONSIBLE: 421,
    Kind.UNTRUSTED: 502,
    Kind.LOOP: 508,
    Kind.LIMIT: 413,
    Kind.RATE: 429,
    Kind.BUSY: 503,
    Kind.UNAVAILABLE: 503,
    Kind.NOT_SUPPORTED: 501,
    Kind.INTERNAL: 500,
}

#: kind → number of the gRPC status code.
GRPC_STATUS: dict[Kind, int] = {
    Kind.MALFORMED: 3,  # INVALID_ARGUMENT
    Kind.MALFORMED_IDENTIFIER: 3,
    Kind.INVALID_VALUE: 3,
    Kind.NOT_FOUND: 5,  # NOT_FOUND
    Kind.VALUE_NOT_FOUND: 5,
    Kind.GONE: 5,
    Kind.EXISTS: 6,  # ALREADY_EXISTS
    Kind.VALUE_EXISTS: 6,
    Kind.CONFLICT: 10,  # ABORTED
    Kind.UNAUTHENTICATED: 16,  # UNAUTHENTICATED
    Kind.FORBIDDEN: 7,  # PERMISSION_DENIED
    Kind.NOT_RESPONSIBLE: 9,  # FAILED_PRECONDITION
    Kind.UNTRUSTED: 9,
    Kind.LOOP: 9,
    Kind.LIMIT: 8,  # RESOURCE_EXHAUSTED
    Kind.RATE: 8,
    Kind.BUSY: 14,  # UNAVAILABLE
    Kind.UNAVAILABLE: 14,
    Kind.NOT_SUPPORTED: 12,  # UNIMPLEMENTED
    Kind.INTERNAL: 13,  # INTERNAL
}

#: kind → Handle response code.
HANDLE_CODE: dict[Kind, int] = {
    Kind.MALFORMED: 4,  # protocol error
    Kind.MALFORMED_IDENTIFIER: 102,
    Kind.INVALID_VALUE: 202,
    Kind.NOT_FOUND: 100,
    Kind.VALUE_NOT_FOUND: 200,
    Kind.GONE: 100,
    Kind.EXISTS: 101,
    Kind.VALUE_EXISTS: 201,
    Kind.CONFLICT: 101,
    Kind.UNAUTHENTICATED: 402,
    Kind.FORBIDDEN: 400,
    Kind.NOT_RESPONSIBLE: 301,
    Kind.UNTRUSTED: 2,
    Kind.LOOP: 6,
    Kind.LIMIT: 4,
    Kind.RATE: 3,
    Kind.BUSY: 3,
    Kind.UNAVAILABLE: 3,
    Kind.NOT_SUPPORTED: 5,
    Kind.INTERNAL: 2,
}


class HazlinkError(Exception):
    """A refusal that says what is wrong, where, and what would be right.

    Args:
        code: name of the catalogue text, `<package>.<topic>.<name>`.
        field: where it is wrong (a field, a path such as `values[3].ttl`, a line).
        retry_after: seconds after which another try makes sense.
        params: what the text's placeholders stand for; `field` is one of them.
    """

    kind: Kind = Kind.INTERNAL

    def __init__(
        self, code: str, /, *, field: str | None = None, retry_after: float | None = None, **params: object
    ) -> None:
        self.code = code
        self.field = field
        self.retry_after = retry_after
        self.params = params
        super().__init__(code)

    def message(self, language: Language = "en") -> str:
        """Return the text in `language`."""
        return text(self.code, language, field=self.field or "", **self.params)

    def __str__(self) -> str:
        return self.message("en")


class MalformedError(HazlinkError):
    """The request cannot be read."""

    kind = Kind.MALFORMED


class MalformedIdentifierError(MalformedError):
    """An identifier or prefix breaks the syntax."""

    kind = Kind.MALFORMED_IDENTIFIER


class InvalidValueError(HazlinkError):
    """A value breaks its template or a rule of the data model."""

    kind = Kind.INVALID_VALUE


class NotFoundError(HazlinkError):
    """There is nothing under that name."""

    kind = Kind.NOT_FOUND


class ValueNotFoundError(NotFoundError):
    """The record is there, the index or type is not."""

    kind = Kind.VALUE_NOT_FOUND


class GoneError(NotFoundError):
    """The name was withdrawn or deleted; its tombstone says by whom and why."""

    kind = Kind.GONE


class ExistsError(HazlinkError):
    """The name is taken by another owner or with other content."""

    kind = Kind.EXISTS


class ValueExistsError(ExistsError):
    """The index is taken."""

    kind = Kind.VALUE_EXISTS


class ConflictError(HazlinkError):
    """The record is not at the version the writer expected."""

    kind = Kind.CONFLICT


class UnauthenticatedError(HazlinkError):
    """Nobody, or nobody we can recognise, is asking."""

    kind = Kind.UNAUTHENTICATED


class ForbiddenError(HazlinkError):
    """The principal may not do this here."""

    kind = Kind.FORBIDDEN


class NotResponsibleError(HazlinkError):
    """This node does not home the prefix and was asked not to look further."""

    kind = Kind.NOT_RESPONSIBLE


class UntrustedError(HazlinkError):
    """A signature, a key, a delegation or a chain does not hold."""

    kind = Kind.UNTRUSTED


class LoopError(HazlinkError):
    """Resolution went in a circle or past its hop limit."""

    kind = Kind.LOOP


class LimitError(HazlinkError):
    """Too large, too deep or too many."""

    kind = Kind.LIMIT


class RateLimitError(LimitError):
    """Too often."""

    kind = Kind.RATE


class UnavailableError(HazlinkError):
    """A tier, a database or a key cannot be reached now; another try may succeed."""

    kind = Kind.UNAVAILABLE


class BusyError(UnavailableError):
    """The node has more work than it accepts."""

    kind = Kind.BUSY


class NotSupportedError(HazlinkError):
    """This node does not do that."""

    kind = Kind.NOT_SUPPORTED


class InternalError(HazlinkError):
    """A mistake of ours; the text is logged, never sent."""

    kind = Kind.INTERNAL
