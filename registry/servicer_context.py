"""What every gRPC door shares: who is asking, and how a refusal leaves the house.

The interceptor of the composition root sets `current_principal` for the call at hand; servicers read it. A refusal is
turned into a gRPC status in one place:

- the status code is `registry.errors.GRPC_STATUS` of the error's kind;
- the details text is the Chinese message, then the English one, one line each;
- trailing metadata `hazlink-error-bin` carries the same as a serialised `hazlink.resolver.v1.Error`,
  `hazlink-field-bin` (UTF-8) says where, `retry-after` (whole seconds) when another try makes sense.

An internal error is logged in full and told in short: its text is never sent. The guard in front of all RPCs catches
what servicers raise.
"""

import logging
import math
from contextvars import ContextVar
from typing import Any, NoReturn

import grpc

from registry.errors import GRPC_STATUS, HazlinkError, InternalError, Kind
from registry.principal import ANONYMOUS, Principal
from registry.servicer_messages import error_to_message

__all__ = ["abort_with", "current_principal", "metadata_of", "status_of"]

#: Who makes the call at hand; set by the interceptor, anonymous until then.
current_principal: ContextVar[Principal] = ContextVar("current_principal", default=ANONYMOUS)

_LOG = logging.getLogger(__name__)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}


def status_of(error: HazlinkError) -> Any:
    """Return the `grpc.StatusCode` of an error."""
    return _STATUS[GRPC_STATUS[error.kind]]


def metadata_of(error: HazlinkError) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata that describes an error."""
    pairs: list[tuple[str, str | bytes]] = [
        ("hazlink-error-bin", error_to_message(error).SerializeToString())
    ]
    if error.field:
        pairs.append(("hazlink-field-bin", error.field.encode()))
    if error.retry_after is not None:
        pairs.append(("retry-after", str(math.ceil(error.retry_after))))
    return tuple(pairs)


async def abort_with(context: Any, error: HazlinkError) -> NoReturn:
    """End the call with the status, the texts and the metadata of `error`."""
    if error.kind is Kind.INTERNAL:
        _LOG.error("internal error in a call: %s", error, exc_info=error)
        error = InternalError("registry.servicer.internal")
    details = f"{error.message('zh')}\n{error.message('en')}"
    await context.abort(status_of(error), details, metadata_of(error))
    raise error  # abort always raises; this only tells the type checker so
