"""What a take-over looks like in the status of the node: whose records are served here, out of which deposit of when.

It is amber as long as it lasts: nothing is wrong with this node, and somebody has to bring the other one back.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from federation.exchange.status import Level, Reason
from registry.errors import UnavailableError

__all__ = ["Serving", "TakeoverReasons"]


class Serving(Protocol):
    """Knows the open take-overs; `federation.escrow.takeover.Takeovers` is one. See there for the contract."""

    def serving(self) -> list[Mapping[str, Any]]:
        """Return the take-overs that are open."""
        ...


class TakeoverReasons:
    """One amber reason for each open take-over; what `ExchangeStatus` asks for besides its own."""

    def __init__(self, takeovers: Serving) -> None:
        self._takeovers = takeovers

    def __call__(self) -> Sequence[Reason]:
        """Return the reasons.

        Raises:
            UnavailableError: the database cannot be read.
        """
        return [Reason(Level.AMBER, _said(row), whole=False) for row in self._takeovers.serving()]


def _said(row: Mapping[str, Any]) -> UnavailableError:
    return UnavailableError(
        "federation.escrow.serving",
        prefix=row["owner"],
        rev=row["rev"],
        deposited=_as_text(row["deposit_at"]),
        since=_as_text(row["began_at"]),
        reason=row["reason"],
    )


def _as_text(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
