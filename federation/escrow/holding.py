"""Deposits of others: parts are kept as they came, the manifest decides whether they are a deposit.

Rules:

- a part is kept unopened; only a take-over opens it;
- the manifest must be signed by the prefix it is of, name this receiver, and its digest must be that of the parts;
  a DIFF must stand on the revision before it that is held here;
- after a new FULL everything before the FULL before it is thrown away: one older full deposit always stays.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from federation.escrow.cipher import read_head
from federation.escrow.deposit import DEPOSIT_SCHEMA, DEPOSIT_TYPE, PART_SCHEMA, PART_TYPE
from federation.escrow.manifest import DIFF, EMPTY, FULL, Manifest, read_manifest
from federation.escrow.storage import EscrowUnit
from federation.exchange.handlers import Delivery, Handler
from registry.errors import ConflictError, ForbiddenError, InvalidValueError
from registry.trust.claims import Claims

__all__ = ["DepositHandler", "PartHandler", "escrow_handlers"]

_STREAM = "report"
_MAX_MANIFEST = 4_096


class PartHandler:
    """Keeps parts; implements `federation.exchange.handlers.Handler`."""

    @property
    def type(self) -> str:
        """The event name it is for."""
        return PART_TYPE

    @property
    def stream(self) -> str:
        """The one stream it comes on."""
        return _STREAM

    @property
    def schemas(self) -> frozenset[str]:
        """The schema it understands."""
        return frozenset({PART_SCHEMA})

    def identifiers(self, body: Any) -> Iterable[str]:
        """Return nothing: what is inside is looked at when it is opened."""
        del body
        return ()

    def check(self, body: Any) -> None:
        """Refuse what is no part.

        Raises:
            MalformedError, LimitError: it is not.
        """
        read_head(body)

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Keep the part.

        Raises:
            ForbiddenError: it comes from somebody who does not deposit here.
        """
        _require_child(delivery)
        head = read_head(delivery.body)
        EscrowUnit(connection).add_part(
            {
                "receiver": delivery.receiver.key,
                "owner": delivery.origin.key,
                "deposit": head.deposit,
                "part": head.part,
                "sha256": hashlib.sha256(delivery.body).digest(),
                "data": delivery.body,
                "at": delivery.received_at,
            }
        )


class DepositHandler:
    """Makes a deposit of parts; implements `federation.exchange.handlers.Handler`."""

    @property
    def type(self) -> str:
        """The event name it is for."""
        return DEPOSIT_TYPE

    @property
    def stream(self) -> str:
        """The one stream it comes on."""
        return _STREAM

    @property
    def schemas(self) -> frozenset[str]:
        """The schema it understands."""
        return frozenset({DEPOSIT_SCHEMA})

    def identifiers(self, body: Any) -> Iterable[str]:
        """Return nothing: the manifest names its signer alone."""
        del body
        return ()

    def check(self, body: Any) -> None:
        """Refuse what holds no manifest.

        Raises:
            MalformedError: it does not.
        """
        Claims(body, at="body").text("manifest", _MAX_MANIFEST)

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Check the manifest against the parts and keep the deposit.

        Raises:
            ForbiddenError: it comes from somebody who does not deposit here.
            UntrustedError: the manifest does not hold.
            InvalidValueError: parts are missing or are others.
            ConflictError: it is older than one held here, or stands on one that is not.
        """
        _require_child(delivery)
        token = str(delivery.body["manifest"])
        made = read_manifest(token, delivery.chain)
        if made.receiver != delivery.receiver:
            raise ForbiddenError(
                "federation.escrow.other_receiver", field="manifest", value=made.receiver.key
            )
        unit = EscrowUnit(connection)
        held = unit.held(made.receiver.key, made.owner.key)
        _require_next(made, [row["rev"] for row in held])
        _require_parts(made, unit.part_digests(made.receiver.key, made.owner.key, made.deposit))
        unit.add_held(
            {
                "receiver": made.receiver.key,
                "owner": made.owner.key,
                "rev": made.rev,
                "deposit": made.deposit,
                "kind": made.kind,
                "base": made.base,
                "watermark": made.watermark,
                "parts": made.parts,
                "records": made.records,
                "kid": made.kid,
                "manifest": token,
                "env": delivery.envelope.env,
                "at": delivery.received_at,
            }
        )
        if made.kind == FULL:
            before = [row["rev"] for row in held if row["kind"] == FULL]
            unit.drop_held(made.receiver.key, made.owner.key, before[0] if before else made.rev)


def escrow_handlers() -> list[Handler]:
    """Return the handlers of a superior."""
    return [PartHandler(), DepositHandler()]


def _require_child(delivery: Delivery) -> None:
    if delivery.origin.parent != delivery.receiver or delivery.via:
        raise ForbiddenError("federation.escrow.not_child", field="iss", value=delivery.origin.key)


def _require_next(made: Manifest, held: list[int]) -> None:
    newest = held[0] if held else 0
    if made.rev <= newest:
        raise ConflictError("federation.escrow.rev_old", field="rev", rev=made.rev, newest=newest)
    if made.kind == DIFF and made.base not in held:
        raise ConflictError("federation.escrow.base_missing", field="base", rev=made.rev, base=made.base)


def _require_parts(made: Manifest, parts: list[tuple[int, bytes]]) -> None:
    digest = EMPTY
    for _, one in parts:
        digest = hashlib.sha256(digest + one).digest()
    if [number for number, _ in parts] != list(range(1, made.parts + 1)) or digest != made.sha256:
        raise InvalidValueError("federation.escrow.parts", field="parts", deposit=made.deposit)
