"""Two halves of an exchange for the benchmark: one receives behind real HTTP, the other seals, sends and settles.

python -m tests.bench._exchange URL NOW     the receiving node over the database URL, in a process of its own

Both are put together from the same parts as a node, over the keys of `tests.support.trust`; what is left out is what
does not touch an envelope: the login of people, the rate limits, the other doors.
"""

import os
import re
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import ORJSONResponse
from sqlalchemy import insert

from federation.exchange.chains import Chains
from federation.exchange.config import ExchangeConfig
from federation.exchange.envelope import Draft
from federation.exchange.outbox import Outbox
from federation.exchange.peers import Peers
from federation.exchange.reaching import Reaching
from federation.exchange.routes import Exchange, make_router
from federation.exchange.sealing import Sealer, fenced
from federation.exchange.sender import Sender
from federation.exchange.settling import Settlement
from federation.log.note import key_of
from federation.marks.file import MarkFile
from node.connecting import guarded_client
from node.schema import upgrade
from registry.clock import SystemClock
from registry.delegation import Home, HomeState, Origin, Superior
from registry.errors import HTTP_STATUS, HazlinkError
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from registry.storage.engine import Database
from registry.storage.tables import counter
from registry.trust.chain import MemoryMarks
from registry.trust.encoding import b64u
from registry.trust.keys import Signer
from registry.trust.statement import Endpoints, StatementKey
from resolver.peer_guard import GuardConfig
from resolver.peer_http import GuardedHttp
from tests.bench._floors import listening, serve_asgi
from tests.support.exchange_nodes import FakeHomes, a_desk
from tests.support.trust import DAY, Chain, a_chain, a_root, a_signer

__all__ = [
    "AUD",
    "ISS",
    "STREAM",
    "Entries",
    "Sending",
    "a_draft",
    "a_log_key",
    "a_sender",
    "a_tree",
    "opened",
]

ISS, AUD = Prefix("88.107.1001"), Prefix("88.107")
STREAM = "register"
_TYPE, _SCHEMA = "dataset.entries", "t9/1"


def a_log_key(name: str) -> Signer:
    """The key of the log of a prefix."""
    return a_signer(f"log of {name}")


def a_tree(now: int) -> Chain:
    """The chains of both sides, good from an hour ago: the same in both processes."""
    names = ("88", "88.107", "88.107.1001")
    changed = {}
    for name in names:
        keys = (
            StatementKey.of(a_signer(name), nbf=now - 3_600),
            StatementKey.of(a_log_key(name), nbf=now - 3_600, use="log"),
        )
        vkey = key_of(f"{name}/log1", a_log_key(name)).vkey
        changed[name] = {
            "iat": now - 3_600,
            "nbf": now - 3_600,
            "exp": now + 90 * DAY - len(name),
            "keys": keys,
            "endpoints": Endpoints(log_vkey=vkey),
        }
    return a_chain(*names, root=a_root(iat=now - DAY, exp=now + 3_650 * DAY), changed=changed)


def opened(url: str) -> Database:
    """A database with every table there is."""
    database = Database(url)
    upgrade(database)
    return database


def a_draft(number: int) -> Draft:
    """An entry of a docking table, as an enterprise reports it."""
    body = {
        "dataset": "T9",
        "identifier": f"{ISS.key}/BATCH-{number * 7_919 % 100_000_007:08d}",
        "version": 1,
        "content": {
            "name_zh": f"示例溶剂{number % 100}号",
            "substance": f"SUBSTANCE-{number % 500:04d}",
            "quantity_t": 20.5,
            "produced": "2026-09-21",
            "stored_in": f"TANK-{number % 37:02d}",
        },
    }
    return Draft(ISS, AUD, STREAM, _TYPE, _SCHEMA, body)


@dataclass
class Entries:
    """Understands the entries and keeps no copy of them: what is measured is the exchange, not a dataset."""

    type: str = _TYPE
    stream: str = STREAM
    schemas: frozenset[str] = frozenset({_SCHEMA})

    def identifiers(self, body: Any) -> tuple[str, ...]:
        return ()

    def check(self, body: Any) -> None:
        pass

    def apply(self, connection: Any, delivery: Any) -> None:
        pass


# --- the receiver --------------------------------------------------------------------------------------------------

_BEARER = re.compile(r"Bearer token of (\S+) \d+")


def _app(database: Database, now: int) -> FastAPI:
    desk = a_desk(
        database,
        AUD.key,
        clock=SystemClock(),
        tree=a_tree(now),
        note=Entries(),
    )
    # the key in memory, as a node has it
    key = desk.homes.signer_for(AUD)
    desk.homes.signer_for = lambda _prefix: key
    app = FastAPI()
    app.state.node = SimpleNamespace(
        exchange=Exchange(inbound=desk.inbound, outbound=None),
        executor=ThreadPoolExecutor(4),
    )
    app.include_router(make_router())

    @app.post("/federation/v1/challenge")
    async def challenge() -> dict[str, str]:
        return {"nonce": b64u(os.urandom(32))}

    @app.middleware("http")
    async def who(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        shown = _BEARER.fullmatch(request.headers.get("authorization", ""))
        grants = frozenset({Grant(Prefix(shown[1]), Role.NODE)}) if shown else frozenset()
        request.state.principal = Principal(name="peer", grants=grants)
        return await call(request)

    @app.exception_handler(HazlinkError)
    async def refused(_request: Request, error: HazlinkError) -> Response:
        return ORJSONResponse({"code": error.code}, status_code=HTTP_STATUS[error.kind])

    return app


# --- the sender ----------------------------------------------------------------------------------------------------


class _Homes(FakeHomes):
    """The homes of the sending node: one prefix, with a superior elsewhere."""

    def __init__(self, tree: Chain, url: str) -> None:
        super().__init__(frozenset({ISS.key}), tree)
        signer, _ = super().signer_for(ISS)
        superior = Superior(urls=(url,), anchor=tree.anchor.fingerprint, parent=AUD)
        self._signer = signer
        self._home = Home(
            prefix=ISS,
            origin=Origin.JOINED,
            state=HomeState.ACTIVE,
            kid=signer.kid,
            chain=tree.tokens_of(ISS.key),
            superior=superior,
        )

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """The key in memory, as a node has it."""
        return (self._signer, prefix) if prefix == ISS else super().signer_for(prefix)

    def home(self, prefix: Prefix) -> Home | None:
        return self._home if prefix == ISS else None

    def all(self) -> tuple[Home, ...]:
        return (self._home,)


@dataclass
class Sending:
    """The sending node."""

    database: Database
    outbox: Outbox
    sender: Callable[[], Sender]
    peers: Peers
    sealer: Sealer
    settlement: Settlement
    reaching: Reaching

    def queue(self, first: int, count: int) -> None:
        """Let business transactions of 500 ask for so many envelopes."""
        for start in range(first, first + count, 500):
            with self.database.write() as connection:
                for number in range(start, min(start + 500, first + count)):
                    self.outbox.append(connection, a_draft(number))


def a_sender(database: Database, url: str, now: int, folder: Path, executor: ThreadPoolExecutor) -> Sending:
    """Put a sending node together."""
    clock, config = SystemClock(), ExchangeConfig()
    tree = a_tree(now)
    homes = _Homes(tree, url)
    marks = MarkFile(folder / "marks" / "exchange.json")
    instance = os.urandom(16)
    marks.create(instance)
    fence = marks.take(instance, 0)
    with database.write() as connection:
        connection.execute(insert(counter).values(name="fence", next=fence))
    may_sign = fenced(marks.fence)
    chains = Chains(
        database=database, anchor=lambda: tree.anchor, marks=MemoryMarks(), delegations=homes, clock=clock
    )
    reaching = Reaching(homes=homes, chains=chains, anchor=lambda: tree.anchor, clock=clock)
    peers = Peers(
        reaching=reaching,
        here=None,  # nobody is homed beside the sender
        connect=guarded_client(GuardedHttp(GuardConfig(allow_loopback_peers=True))),
        speakers=homes,
        copy=lambda: (instance, fence),
        clock=clock,
        executor=executor,
        urgent=executor,
        config=config,
    )
    sealer = Sealer(
        database=database, speakers=homes, marks=marks, may_sign=may_sign, clock=clock, entropy=os.urandom
    )
    settlement = Settlement(database=database, keys=reaching, may_sign=may_sign, clock=clock)

    def sender() -> Sender:
        return Sender(
            sealer=sealer,
            settlement=settlement,
            peers=peers,
            speakers=homes,
            clock=clock,
            executor=executor,
            urgent=executor,
            entropy=os.urandom,
            config=config,
        )

    return Sending(database, Outbox(clock=clock), sender, peers, sealer, settlement, reaching)


if __name__ == "__main__":
    serve_asgi(_app(opened(sys.argv[1]), int(sys.argv[2])), listening())
