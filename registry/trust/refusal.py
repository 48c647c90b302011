"""How the rooms of trust refuse: the same reason, in the kind of error that fits who gets to read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from registry.errors import HazlinkError, LimitError, MalformedError, UnauthenticatedError, UntrustedError

__all__ = ["as_kind", "as_unauthenticated", "as_untrusted"]

_E = TypeVar("_E", bound=HazlinkError)


def as_kind(error: HazlinkError, kind: type[_E]) -> _E:
    """Return the same refusal as another kind of error."""
    return kind(error.code, field=error.field, retry_after=error.retry_after, **error.params)


@contextmanager
def as_untrusted() -> Iterator[None]:
    """Turn what is unreadable inside into UntrustedError: what cannot be read vouches for nothing."""
    try:
        yield
    except (MalformedError, LimitError) as error:
        raise as_kind(error, UntrustedError) from error


@contextmanager
def as_unauthenticated() -> Iterator[None]:
    """Turn whatever does not hold inside into UnauthenticatedError: the caller did not prove who they are."""
    try:
        yield
    except (MalformedError, LimitError, UntrustedError) as error:
        raise as_kind(error, UnauthenticatedError) from error
