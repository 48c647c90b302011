"""The receiving side of a node for tests: real tables, real keys, no network.

park = a_desk(database, "88.107")                       # receives for 88.107, below the tree of exchange_wire
pen = Pen("88.107.1001", "88.107")                      # writes the lane works -> park
lines = park.take(pen, [pen.write({"n": 1}) for _ in range(3)])
park.receipts(lines), park.got                          # what it said, and what its handler applied
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from federation.exchange import receipt as receipts
from federation.exchange.applying import Applier
from federation.exchange.chains import Chains
from federation.exchange.envelope import Draft, Envelope, Position, seal, uuid7
from federation.exchange.epoch import first_position
from federation.exchange.handlers import Delivery, Handlers
from federation.exchange.inbound import Inbound
from federation.exchange.outbox import Outbox
from federation.exchange.receipt import Line, Receipt
from federation.exchange.receiver import Receiver
from federation.exchange.relay import Relaying, RelayStreams
from federation.exchange.relayed import relay_handlers
from federation.exchange.sessions import Sessions
from federation.exchange.storage.received import ReceivedUnit
from node.schema import upgrade
from registry.errors import (
    InvalidValueError,
    NotResponsibleError,
    UnauthenticatedError,
)
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.chain import MemoryMarks, chain_sha256
from registry.trust.encoding import b64u
from registry.trust.keys import Signer
from registry.trust.possession import make_possession
from tests.support.exchange_wire import TREE
from tests.support.prefixes import MovedClock
from tests.support.trust import Chain, a_signer

__all__ = ["Desk", "FakeHomes", "Noted", "Notes", "Pen", "a_desk", "a_session_form"]


@dataclass
class Noted:
    """A handler that notes what it applied, in the database as well, and refuses what says so.

    A body `{"refuse": true}` is refused by `apply`, `{"wrong": true}` by `check`, `{"broken": true}` breaks `apply`.
    """

    type: str = "note"
    stream: str = "register"
    schemas: frozenset[str] = frozenset({"note/1"})
    got: list[Delivery] = field(default_factory=list)

    def identifiers(self, body: Any) -> list[str]:
        return [body["serial"]] if isinstance(body, dict) and "serial" in body else []

    def check(self, body: Any) -> None:
        if not isinstance(body, dict) or body.get("wrong"):
            raise InvalidValueError("registry.trust.claim_type", field="body", right="object")

    def apply(self, connection: Any, delivery: Delivery) -> None:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS noted (env TEXT, origin TEXT)")
        connection.exec_driver_sql(
            f"INSERT INTO noted VALUES ('{delivery.envelope.env}', '{delivery.origin.key}')"
        )
        if delivery.body.get("refuse"):
            raise InvalidValueError("registry.trust.claim_type", field="body.refuse", right="false")
        if delivery.body.get("broken"):
            raise ZeroDivisionError
        self.got.append(delivery)


class Notes:
    """Nonces that are good once."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def use_nonce(self, nonce: str) -> None:
        if nonce in self.used:
            raise UnauthenticatedError("registry.prefixes.nonce_used", field="nonce")
        self.used.add(nonce)


@dataclass
class FakeHomes:
    """The prefixes of a node, over the keys of `tests.support.trust`."""

    mine: frozenset[str]
    tree: Chain
    delegated: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def answers_for(self, prefix: Prefix) -> bool:
        return prefix.key in self.mine

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        if prefix.key not in self.mine:
            raise NotResponsibleError("registry.prefixes.not_homed", field="prefix", prefix=prefix.key)
        return a_signer(prefix.key), prefix

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        return self.tree.tokens_of(prefix.key) if prefix.key in self.mine else ()

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        return self.delegated.get(prefix.key, ())


class _Tokens:
    def issue(self, prefix: Prefix, fence: int) -> tuple[str, int]:
        return f"token of {prefix.key} {fence}", 300


@dataclass
class Desk:
    """One receiving node."""

    database: Database
    homes: FakeHomes
    clock: MovedClock
    marks: MemoryMarks
    chains: Chains
    handlers: Handlers
    note: Noted
    receiver: Receiver
    sessions: Sessions
    inbound: Inbound
    applier: Applier

    @property
    def got(self) -> list[str]:
        """The names of what was applied and committed, in order."""
        with self.database.read() as connection:
            try:
                return [row[0] for row in connection.exec_driver_sql("SELECT env FROM noted")]
            except Exception:
                return []

    def take(self, pen: "Pen", made: Sequence[Envelope], **other: Any) -> list[Line]:
        return self.receiver.receive(pen.iss, pen.stream, [one.token.encode() for one in made], **other)

    def receipts(self, lines: Sequence[Line]) -> list[Receipt]:
        return [receipts.read(line.receipt) for line in lines if line.receipt is not None]

    def codes(self, lines: Sequence[Line]) -> list[str | None]:
        """The code of each line, signed or not."""
        return [receipts.read(line.receipt).code if line.receipt else line.code for line in lines]

    def lane(self, pen: "Pen") -> Any:
        with self.database.read() as connection:
            return ReceivedUnit(connection).lane((pen.iss.key, pen.aud.key, pen.stream))


def a_desk(
    database: Database,
    *mine: str,
    clock: MovedClock | None = None,
    tree: Chain = TREE,
    relays: Sequence[str] = (),
    note: Noted | None = None,
    handlers: Handlers | None = None,
    **other: Any,
) -> Desk:
    """A node that homes these prefixes (88.107 when none is said)."""
    upgrade(database)
    clock = clock or MovedClock()
    homes = FakeHomes(frozenset(mine or ("88.107",)), tree)
    marks = MemoryMarks()
    chains = Chains(
        database=database, anchor=lambda: tree.anchor, marks=marks, delegations=homes, clock=clock
    )
    note = note or Noted()
    handlers = handlers if handlers is not None else Handlers(note)
    for handler in relay_handlers(handlers, chains, clock.now):
        handlers.register(handler)
    relaying = (
        Relaying(policy=RelayStreams(frozenset(relays)), drafts=Outbox(clock=clock), superiors=homes)
        if relays
        else None
    )
    receiver = Receiver(
        database=database,
        homes=homes,
        chains=chains,
        handlers=handlers,
        clock=clock,
        relaying=relaying,
        **other,
    )
    sessions = Sessions(
        database=database,
        chains=chains,
        homes=homes,
        nonces=Notes(),
        tokens=_Tokens(),
        handlers=handlers,
        clock=clock,
        credit=receiver.credit,
    )
    inbound = Inbound(
        database=database, homes=homes, chains=chains, receiver=receiver, sessions=sessions, clock=clock
    )
    applier = Applier(database=database, chains=chains, handlers=handlers)
    return Desk(database, homes, clock, marks, chains, handlers, note, receiver, sessions, inbound, applier)


class Pen:
    """Writes one lane: each envelope linked to the one before; the first brings the chain."""

    def __init__(
        self,
        iss: str = "88.107.1001",
        aud: str = "88.107",
        stream: str = "register",
        *,
        tree: Chain = TREE,
        signer: Signer | None = None,
        clock: MovedClock | None = None,
    ) -> None:
        self.iss, self.aud, self.stream = Prefix.parse(iss), Prefix.parse(aud), stream
        self.tree = tree
        self.signer = signer or a_signer(iss)
        self.clock = clock or MovedClock()
        self.position = first_position(self.iss, self.aud, stream)
        self._introduced = False

    def write(
        self,
        body: Any = None,
        *,
        type_: str = "note",
        schema: str = "note/1",
        position: Position | None = None,
        chain: Sequence[str] | str | None = None,
        **other: Any,
    ) -> Envelope:
        """The next envelope; at another position it does not move the lane."""
        tokens = self.tree.tokens_of(self.iss.key)
        if chain is None:
            chain = chain_sha256(tokens) if self._introduced else tokens
            self._introduced = True
        content = {
            "iss": self.iss,
            "aud": self.aud,
            "stream": self.stream,
            "type": type_,
            "schema": schema,
            "body": {"n": self.position.seq} if body is None else body,
        }
        made = seal(
            self.signer,
            Draft(**{**content, **other}),
            position or self.position,
            chain=chain,
            jti=uuid7(int(self.clock.now() * 1000), os.urandom),
            iat=int(self.clock.now()),
        )
        if position is None:
            self.position = self.position.after(made.env)
        return made

    def many(self, count: int, **other: Any) -> list[Envelope]:
        return [self.write(**other) for _ in range(count)]


def a_session_form(
    prefix: str = "88.107.1001",
    audience: str = "88.107",
    *,
    clock: MovedClock | None = None,
    tree: Chain = TREE,
    signer: Signer | None = None,
    nonce: bytes | None = None,
    instance: bytes = b"i" * 16,
    fence: int = 1,
    changed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What another node shows to open a session."""
    now = (clock or MovedClock()).now()
    possession = make_possession(
        signer or a_signer(prefix),
        audience=f"0.NA/{audience}",
        subject=f"0.NA/{prefix}",
        nonce=b64u(nonce or os.urandom(32)),
        iat=int(now),
    )
    form = {
        "prefix": prefix,
        "chain": list(tree.tokens_of(prefix)),
        "possession": possession,
        "instance": b64u(instance),
        "fence": fence,
    }
    return {**form, **(changed or {})}
