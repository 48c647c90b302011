"""What a batch is made of while it is taken in: lanes that move, envelopes that use up their numbers."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from federation.exchange import epoch as epochs
from federation.exchange.checks import Inspection
from federation.exchange.envelope import Position
from federation.exchange.handlers import Handlers
from federation.exchange.receipt import CODES
from federation.exchange.relay import Relaying
from federation.exchange.storage.rows import LaneRow
from federation.log.leaf import Leaf
from registry.identifier import Prefix
from registry.trust.encoding import b64u, from_b64u
from registry.trust.keys import Signer

__all__ = [
    "NAMED",
    "Context",
    "Due",
    "EffectRefusedError",
    "Final",
    "Lane",
    "Signers",
    "leaf_of",
    "name_of",
    "position_of",
    "raw_of",
    "row_of",
]

#: Sender, receiver, stream; prefixes folded.
Lane = tuple[str, str, str]
#: Streams on which what is sealed again in a later epoch, under the name it had, has its effect only once.
NAMED = frozenset({"control", "query"})


class Signers(Protocol):
    """The keys of the prefixes homed here; `registry.prefixes.homes.Homes` is one."""

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here."""
        ...

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """Return the key that signs for a homed prefix, and that prefix."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What is the same for every batch.

    Attributes:
        homes: the prefixes of this node, and their keys.
        handlers: what is done with each type.
        relaying: passes envelopes on upward.
        credit: stands on every receipt.
        log_number: which log; None: the newest.
    """

    homes: Signers
    handlers: Handlers
    relaying: Relaying | None
    credit: int
    log_number: int | None


class EffectRefusedError(Exception):
    """A handler refused while effects ran without savepoints: run the batch again with them."""


@dataclass(slots=True)
class Due:
    """A lane while its batch is taken in; `taken` are the envelopes of this batch, by number."""

    position: Position
    row: LaneRow
    taken: dict[tuple[int, int], "Final"] = field(default_factory=dict)
    moved: bool = False


@dataclass(slots=True)
class Final:
    """An envelope that uses up its number; its receipt is made when its leaf has a place.

    Attributes:
        env: its name, raw.
        name: the same in base64url.
        refound: its leaf came back after a restore, and decides what the receipt says.
        origin: for a relay, whose envelope is inside.
    """

    inspection: Inspection
    env: bytes
    name: str
    code: str
    lane: Lane
    position: Position
    applied: int
    at: int
    leaf: bytes = b""
    leaf_index: int | None = None
    receipt: str = ""
    refound: bool = False
    origin: str | None = None


def row_of(final: Final) -> dict[str, Any]:
    """Return the row of the inbox."""
    inspection = final.inspection
    envelope, chain = inspection.envelope, inspection.chain
    beside = envelope.detached if envelope is not None else None
    iss, aud, stream = final.lane
    return {
        "iss": iss,
        "aud": aud,
        "stream": stream,
        "epoch": final.position.epoch,
        "seq": final.position.seq,
        "env": final.env,
        "token": inspection.token,
        "body": raw_of(beside.sha256) if beside is not None else None,
        "chain": raw_of(chain.sha256) if chain is not None else b"",
        "type": envelope.type if envelope is not None else "",
        "schema": envelope.schema if envelope is not None else "",
        "outcome": CODES[final.code].outcome,
        "code": final.code,
        "receipt": final.receipt.encode(),
        "leaf_index": final.leaf_index,
        "applied": final.applied,
        "received_at": final.at,
        "origin": final.origin,
        "jti": name_of(inspection),
    }


def name_of(inspection: Inspection) -> str | None:
    """Return what an envelope is called, on the streams where that counts."""
    envelope = inspection.envelope
    return envelope.jti if envelope is not None and envelope.stream in NAMED else None


def position_of(row: LaneRow) -> Position:
    """Return what a lane waits for; the first epoch opens by itself."""
    if row.prev is not None:
        return Position(row.epoch, row.next_seq, b64u(row.prev))
    return epochs.first_position(Prefix(row.iss), Prefix(row.aud), row.stream)


def leaf_of(final: Final) -> bytes:
    """Return the `in` leaf of an envelope."""
    iss, aud, stream = final.lane
    return Leaf(
        kind="in",
        env=final.name,
        iss=Prefix(iss).handle.text,
        aud=Prefix(aud).handle.text,
        stream=stream,
        epoch=final.position.epoch,
        seq=final.position.seq,
        at=final.at,
        outcome=CODES[final.code].outcome,
        code=final.code,
    ).encode()


def raw_of(name: str) -> bytes:
    """Return the bytes of a digest that was read, so is one."""
    return from_b64u(name) or b""
