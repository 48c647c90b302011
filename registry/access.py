"""What every door declares: which operation each route and each RPC needs. What is not declared is denied.

Each room with edges exports `ACCESS`, a mapping from `"GET /api/handles/{handle:path}"` (method and route template)
or `"/hazlink.resolver.v1.Resolver/Resolve"` (full RPC name) to a `Rule`. The composition root merges them, one guard
in front of all HTTP routes and one interceptor in front of all RPCs enforce them, and the role matrix test is
generated from them. The services check again, for the prefix at hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from registry.principal import Operation, Principal

__all__ = ["ANYONE", "Access", "Authenticator", "Credentials", "Rule", "needs"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The operation a caller must be allowed at some prefix; None opens the door to anyone."""

    operation: Operation | None

    def admit(self, principal: Principal) -> None:
        """Let the principal pass or refuse.

        Raises:
            UnauthenticatedError: a login is needed.
            ForbiddenError: the login does not suffice.
        """
        if self.operation is not None:
            principal.require(self.operation)


ANYONE = Rule(None)

Access = Mapping[str, Rule]


def needs(operation: Operation) -> Rule:
    """Return the rule that asks for `operation`."""
    return Rule(operation)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller showed.

    Attributes:
        authorization: the header or metadata value, or None.
        secure: whether it came over TLS or the loopback interface; Basic is only looked at there.
        address: the caller's network address, for throttling failed logins.
    """

    authorization: str | None
    secure: bool
    address: str = ""


class Authenticator(Protocol):
    """Turns what a caller showed into a principal.

    Consistency: an account that is disabled stops working within the life of a short token. Concurrency: any
    number of tasks. Errors: UnauthenticatedError for anything shown that does not hold (never a silent fall
    back to anonymous), RateLimitError after too many failures.
    """

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return the principal; the anonymous one when nothing was shown."""
        ...
