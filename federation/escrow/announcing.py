"""The superior's escrow key on its way to those who deposit: a signed `escrow.key` on the stream `control`.

A prefix takes the key from its own superior alone. A newer one replaces it; the next deposit is then a full one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from federation.content.ports import HomedPrefixes
from federation.escrow.cipher import check_recipient
from federation.escrow.keys import EscrowKeys, escrow_kid
from federation.escrow.storage import EscrowUnit
from federation.exchange.envelope import Draft
from federation.exchange.handlers import Delivery
from registry.clock import Clock
from registry.delegation import DelegationState, HomeState
from registry.errors import ForbiddenError, InvalidValueError, MalformedError
from registry.trust.claims import Claims
from registry.trust.encoding import b64u, from_b64u

__all__ = ["KEY_SCHEMA", "KEY_TYPE", "KeyAnnouncements", "KeyHandler"]

KEY_TYPE = "escrow.key"
KEY_SCHEMA = "escrow.key/1"
_STREAM = "control"
_LOOK_SECONDS = 10


class KeyAnnouncements:
    """Source of announcements; implements `federation.exchange.sealing.Source`.

    A child homed on this very node is told nothing: a deposit beside what it is a deposit of would help nobody.

    Args:
        homes: the prefixes this node speaks for, and what it delegated.
        keys: the node's escrow keys.
        clock: the time.
    """

    def __init__(self, *, homes: HomedPrefixes, keys: EscrowKeys, clock: Clock) -> None:
        self._homes = homes
        self._keys = keys
        self._clock = clock
        self._looked = -1

    @property
    def stream(self) -> str:
        """The stream its drafts are for."""
        return _STREAM

    def collect(self, connection: Any, limit: int) -> Sequence[Draft]:
        """Return announcements that are due, at most `limit`."""
        now = self._clock.now()
        slot = int(now // _LOOK_SECONDS)
        children = self._children() if slot != self._looked else []
        if not children or limit < 1:
            return []
        unit = EscrowUnit(connection)
        kid, public = self._keys.current()
        told = unit.announced()
        drafts: list[Draft] = []
        for parent, child in children:
            if told.get((parent.key, child.key)) == kid:
                continue
            if len(drafts) == limit:
                return drafts
            body = {"kid": kid, "x": b64u(public), "at": int(now)}
            drafts.append(Draft(parent, child, _STREAM, KEY_TYPE, KEY_SCHEMA, body))
            unit.put_announced(parent.key, child.key, kid)
        if not drafts:
            self._looked = slot
        return drafts

    def _children(self) -> list[tuple[Any, Any]]:
        active = {home.prefix for home in self._homes.all() if home.state is HomeState.ACTIVE}
        return [
            (made.parent, made.prefix)
            for made in self._homes.delegations()
            if made.state is DelegationState.ACTIVE
            and made.parent in active
            and self._homes.home_of(made.prefix) is None
        ]


class KeyHandler:
    """Takes the superior's escrow key in; implements `federation.exchange.handlers.Handler`."""

    @property
    def type(self) -> str:
        """The event name it is for."""
        return KEY_TYPE

    @property
    def stream(self) -> str:
        """The one stream it comes on."""
        return _STREAM

    @property
    def schemas(self) -> frozenset[str]:
        """The schema it understands."""
        return frozenset({KEY_SCHEMA})

    def identifiers(self, body: Any) -> Iterable[str]:
        """Return nothing: the body names nobody."""
        del body
        return ()

    def check(self, body: Any) -> None:
        """Refuse what is no key.

        Raises:
            MalformedError: a member is missing or of another type.
            InvalidValueError: the key is of small order.
        """
        _read(body)

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Keep the key.

        Raises:
            ForbiddenError: it comes from somebody who is not the superior.
        """
        if delivery.origin != delivery.receiver.parent or delivery.via:
            raise ForbiddenError("federation.escrow.not_superior", field="iss", value=delivery.origin.key)
        kid, key = _read(delivery.body)
        EscrowUnit(connection).put_superior_key(
            delivery.receiver.key, delivery.origin.key, kid, key, delivery.received_at
        )


def _read(body: Any) -> tuple[str, bytes]:
    claims = Claims(body, at="body")
    kid, key = claims.text("kid", 64), from_b64u(claims.text("x", 64))
    claims.integer("at")
    if key is None:
        raise MalformedError("registry.trust.claim_type", field="body.x", right="base64url")
    check_recipient(key)
    if escrow_kid(key) != kid:
        raise InvalidValueError("federation.escrow.key", field="body.kid")
    return kid, key
