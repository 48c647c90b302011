"""Two whole sides of the exchange in one process: the works below, the park above, HTTP between them without a network.

async with a_pair(tmp_path) as pair:
    pair.works.write("register", {"n": 1})             # a draft, in a transaction of its own
    pair.works.sealer.seal("register", 100)
    await pair.works.sender...                          # or: async with pair.works.running(): await pair.settled()
pair.link.down, pair.link.lose, pair.link.doubled        # the weather of the link works -> park
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from sqlalchemy import event, insert

from federation.exchange.config import ExchangeConfig
from federation.exchange.envelope import Draft
from federation.exchange.heads import Heads, HeadSender
from federation.exchange.outbound import Outbound
from federation.exchange.outbox import Outbox
from federation.exchange.peers import Peers
from federation.exchange.polling import Downward, Poller
from federation.exchange.proving import Proofs, Prover
from federation.exchange.reaching import Reaching
from federation.exchange.routes import Exchange, make_router
from federation.exchange.sealing import Sealer, fenced
from federation.exchange.sender import Sender
from federation.exchange.settling import Settlement
from federation.exchange.storage.sending import LaneName, LaneState, Outgoing, SendingUnit
from federation.log.note import key_of
from federation.log.reading import LogReader
from federation.log.routes import make_router as log_router
from federation.log.writer import LogWriter, open_log
from federation.marks.file import MarkFile
from node import problems
from node.schema import upgrade
from registry.clock import Clock
from registry.delegation import Home, HomeState, Origin, Superior
from registry.identifier import Prefix
from registry.principal import ANONYMOUS, Grant, Principal, Role
from registry.storage.engine import Database
from registry.storage.tables import counter
from registry.trust.statement import Endpoints
from tests.support.exchange_nodes import Desk, FakeHomes, a_desk
from tests.support.log import a_log_signer
from tests.support.trust import DAY, NOW, Chain, a_chain

__all__ = [
    "PARK",
    "QUICK",
    "TREE",
    "WORKS",
    "Link",
    "Pair",
    "Side",
    "SteadyClock",
    "StubbornClock",
    "a_database",
    "a_pair",
    "a_side",
    "until",
]

PARK, WORKS = Prefix.parse("88.107"), Prefix.parse("88.107.1001")
QUICK = ExchangeConfig(
    seal_seconds=0.05,
    look_seconds=0.05,
    poll_backoff_seconds=0.05,
    request_seconds=10.0,
    poll_wait_seconds=0.5,
    head_seconds=0.2,
    prove_seconds=0.2,
    witness_seconds=0,
)


def _vkey(prefix: str) -> str:
    return key_of(f"{prefix}/log1", a_log_signer(f"log of {prefix}")).vkey


def _endpoints(prefix: str) -> dict[str, Any]:
    # keys a month old: also a clock that is a day slow lies within their life
    return {
        "endpoints": Endpoints(resolve=(f"https://{prefix}.example",), log_vkey=_vkey(prefix)),
        "iat": NOW - 30 * DAY,
    }


TREE = a_chain(
    "88",
    "88.107",
    "88.107.1001",
    changed={name: _endpoints(name) for name in ("88", "88.107", "88.107.1001")},
)


class StubbornClock:
    """As `SteadyClock`, but a pause of a second or more never ends by itself."""

    def __init__(self, now: float = NOW) -> None:
        self._steady = SteadyClock(now)
        self.pauses: list[float] = []

    def now(self) -> float:
        return self._steady.now()

    def monotonic(self) -> float:
        return self._steady.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self._steady.sleep(seconds if seconds < 1 else 86_400)


class SteadyClock:
    """Stands still at the time of `tests.support.trust`; its counter and its pauses are the machine's."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now
        self._real = asyncio.get_running_loop()

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self._real.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class PairHomes(FakeHomes):
    """The prefixes of a side, with the superior of each that has one elsewhere."""

    superiors: dict[str, str] = field(default_factory=dict)

    def all(self) -> tuple[Home, ...]:
        return tuple(
            home for name in sorted(self.mine) if (home := self.home(Prefix.parse(name))) is not None
        )

    def home(self, prefix: Prefix) -> Home | None:
        if prefix.key not in self.mine:
            return None
        above = self.superiors.get(prefix.key)
        return Home(
            prefix=prefix,
            origin=Origin.JOINED if above else Origin.TOP,
            state=HomeState.ACTIVE,
            kid="",
            chain=self.chain(prefix) if above else (),
            superior=Superior((f"https://{above}.example",), "", Prefix.parse(above)) if above else None,
        )


class Link(httpx.AsyncBaseTransport):
    """The way to a side's application, with weather: down, lossy on the way there and back, doubling."""

    def __init__(self, app: FastAPI, chance: Callable[[], float]) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._chance = chance
        self.down = False
        self.lose = 0.0
        self.double = 0.0
        self.count = 0
        self.seen: list[tuple[str, str]] = []
        self.before: Callable[[httpx.Request], httpx.Response | None] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        self.seen.append((request.method, request.url.path))
        if self.down or self._chance() < self.lose / 2:
            raise httpx.ConnectError("the link is down", request=request)
        if self.before is not None and (made := self.before(request)) is not None:
            return made
        await request.aread()
        if self._chance() < self.double:
            await (await self._inner.handle_async_request(request)).aread()
        response = await self._inner.handle_async_request(request)
        if self.down or self._chance() < self.lose / 2:
            raise httpx.ReadError("the answer was lost", request=request)
        return response


@dataclass
class Side:
    """One node of the pair."""

    name: Prefix
    database: Database
    clock: Clock
    desk: Desk
    homes: PairHomes
    marks: MarkFile
    outbox: Outbox
    sealer: Sealer
    settlement: Settlement
    reaching: Reaching
    proofs: Proofs
    heads: Heads
    log: LogWriter
    executor: ThreadPoolExecutor
    urgent: ThreadPoolExecutor
    config: ExchangeConfig
    app: FastAPI
    peers: Peers | None = None
    sender: Sender | None = None
    poller: Poller | None = None
    prover: Prover | None = None
    head_sender: HeadSender | None = None

    def write(
        self, stream: str, *bodies: Any, aud: Prefix | None = None, type_: str | None = None, **other: Any
    ) -> None:
        """Store drafts, one transaction for all."""
        with self.database.write() as connection:
            for body in bodies:
                self.outbox.append(
                    connection,
                    Draft(
                        iss=self.name,
                        aud=aud or self.above,
                        stream=stream,
                        type=type_ or ("note" if stream == "register" else f"{stream}.note"),
                        schema="note/1",
                        body=body,
                        **other,
                    ),
                )

    @property
    def above(self) -> Prefix:
        return Prefix.parse(self.homes.superiors[self.name.key])

    def lane(self, stream: str, aud: Prefix | None = None) -> LaneState | None:
        with self.database.read() as connection:
            return SendingUnit(connection).lane(LaneName(self.name, aud or self.above, stream))

    def sent(self, stream: str, aud: Prefix | None = None) -> list[Outgoing]:
        with self.database.read() as connection:
            return SendingUnit(connection).batch(
                LaneName(self.name, aud or self.above, stream), (0, 0), limit=1_000_000, max_bytes=1 << 40
            )

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[None]:
        """Run the named parts: sender (when none is said), poller, prover, head_sender."""
        tasks = [asyncio.create_task(getattr(self, name).run()) for name in names or ("sender",)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    def close(self) -> None:
        self.executor.shutdown()
        self.urgent.shutdown()
        self.database.close()


def a_side(
    database: Database,
    folder: Path,
    name: Prefix,
    clock: Clock,
    *,
    superior: Prefix | None = None,
    hosted: tuple[str, ...] = (),
    tree: Chain = TREE,
    config: ExchangeConfig = QUICK,
    **other: Any,
) -> Side:
    desk = a_desk(database, name.key, *hosted, clock=clock, tree=tree, **other)
    homes = PairHomes(desk.homes.mine, tree, desk.homes.delegated)
    if superior is not None:
        homes.superiors[name.key] = superior.key
    marks = MarkFile(folder / "marks" / "exchange.json", fsync=lambda _: None)
    marks.create(os.urandom(16))
    fence = marks.take(os.urandom(16), 0)
    with database.write() as connection:
        connection.execute(insert(counter).values(name="fence", next=fence))
    may_sign = fenced(marks.fence)
    reaching = Reaching(homes=homes, chains=desk.chains, anchor=lambda: tree.anchor, clock=clock)
    log_signer = a_log_signer(f"log of {name.key}")
    open_log(database, origin=f"{name.key}/log1", signer=log_signer, clock=clock)
    side = Side(
        name=name,
        database=database,
        clock=clock,
        desk=desk,
        homes=homes,
        marks=marks,
        outbox=Outbox(clock=clock),
        sealer=Sealer(
            database=database,
            speakers=homes,
            marks=marks,
            may_sign=may_sign,
            clock=clock,
            entropy=os.urandom,
        ),
        settlement=Settlement(database=database, keys=reaching, may_sign=may_sign, clock=clock),
        reaching=reaching,
        proofs=Proofs(database=database, reaching=reaching, clock=clock),
        heads=Heads(database=database, speakers=homes, homes=homes, reaching=reaching, clock=clock),
        log=LogWriter(
            database=database, signer=log_signer, origin=f"{name.key}/log1", marks=marks, clock=clock
        ),
        executor=ThreadPoolExecutor(8),
        urgent=ThreadPoolExecutor(2),
        config=config,
        app=FastAPI(),
    )
    _serve(side)
    return side


def _serve(side: Side) -> None:
    """Put the doors on: who comes in is who the token says."""
    downward = Downward(
        database=side.database,
        reaching=side.reaching,
        settlement=side.settlement,
        clock=side.clock,
        executor=side.executor,
        config=side.config,
    )
    side.app.state.node = _Node(side, downward)
    problems.install(side.app)
    side.app.include_router(make_router())
    side.app.include_router(log_router())

    @side.app.middleware("http")
    async def authenticate(request: Request, call_next: Any) -> Any:
        words = request.headers.get("authorization", "").removeprefix("Bearer ").split()
        request.state.principal = ANONYMOUS
        if words[:2] == ["token", "of"]:
            prefix = Prefix.parse(words[2])
            request.state.principal = Principal(f"node:{prefix}", frozenset({Grant(prefix, Role.NODE)}))
        response = await call_next(request)
        # as a server of HTTP says it: by its own clock
        response.headers["date"] = formatdate(side.clock.now(), usegmt=True)
        return response

    @side.app.post("/federation/v1/challenge")
    def challenge() -> dict[str, str]:
        from registry.trust.encoding import b64u

        return {"nonce": b64u(os.urandom(32))}

    @side.app.get("/health/live")
    def live() -> dict[str, str]:
        return {}


class _Node:
    def __init__(self, side: Side, downward: Downward) -> None:
        self.executor = side.executor
        self.log = LogReader(side.database)
        self.witness = None
        self.exchange = Exchange(
            inbound=side.desk.inbound,
            urgent=side.urgent,
            outbound=Outbound(
                database=side.database,
                downward=downward,
                settlement=side.settlement,
                heads=side.heads,
                proofs=side.proofs,
                reaching=side.reaching,
            ),
        )


def connect(side: Side, link: Link | None) -> None:
    """Make the parts of a side that reach out, over this link."""
    side.peers = Peers(
        reaching=side.reaching,
        here=side.desk.inbound,
        connect=lambda _: httpx.AsyncClient(transport=link),
        speakers=side.homes,
        copy=lambda: (side.marks.content().instance, side.marks.fence()),
        clock=side.clock,
        executor=side.executor,
        urgent=side.urgent,
        config=side.config,
    )
    side.sender = Sender(
        sealer=side.sealer,
        settlement=side.settlement,
        peers=side.peers,
        speakers=side.homes,
        clock=side.clock,
        executor=side.executor,
        urgent=side.urgent,
        entropy=os.urandom,
        config=side.config,
    )
    side.poller = Poller(
        database=side.database,
        peers=side.peers,
        here=side.desk.inbound,
        clock=side.clock,
        executor=side.executor,
        entropy=os.urandom,
        config=side.config,
        on_contact=side.sender.returned,
    )
    side.prover = Prover(
        proofs=side.proofs,
        peers=side.peers,
        homes=side.homes.answers_for,
        clock=side.clock,
        executor=side.executor,
        config=side.config,
    )
    side.head_sender = HeadSender(
        heads=side.heads,
        peers=side.peers,
        clock=side.clock,
        executor=side.executor,
        config=side.config,
        on_expected=side.sender.expected,
    )


@dataclass
class Pair:
    works: Side
    park: Side
    link: Link

    async def settled(self, *streams: str, seconds: float = 60.0) -> None:
        """Wait until everything the works wrote on these streams has its receipt."""

        def done() -> bool:
            with self.works.database.read() as connection:
                unit = SendingUnit(connection)
                return not any(unit.has_pending(stream) for stream in streams) and not any(
                    state.unsent for state in unit.lanes() if state.lane.stream in streams
                )

        await until(done, seconds=seconds)


async def until(done: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    end = asyncio.get_running_loop().time() + seconds
    while not (found := done()):
        assert asyncio.get_running_loop().time() < end, "not in time"
        await asyncio.sleep(0.02)
    return found


def a_database(folder: Path) -> Database:
    folder.mkdir(parents=True, exist_ok=True)
    database = Database(f"sqlite:///{folder / 'hazlink.sqlite3'}")
    # what survives a power cut is the engine's own test
    event.listen(database.engine, "connect", lambda driver, _: driver.execute("PRAGMA synchronous=OFF"))
    upgrade(database)
    return database


@asynccontextmanager
async def a_pair(
    folder: Path,
    *,
    config: ExchangeConfig = QUICK,
    chance: Callable[[], float] = lambda: 1.0,
    databases: tuple[Database, Database] | None = None,
    clock: Clock | None = None,
    clocks: tuple[float, float] | None = None,
    **other: Any,
) -> AsyncIterator[Pair]:
    clock = clock or SteadyClock()
    below, above = databases or (a_database(folder / "works"), a_database(folder / "park"))
    times = (SteadyClock(clocks[0]), SteadyClock(clocks[1])) if clocks else (clock, clock)
    works = a_side(below, folder / "works", WORKS, times[0], superior=PARK, config=config)
    park = a_side(above, folder / "park", PARK, times[1], config=config, **other)
    park.homes.delegated[WORKS.key] = TREE.tokens_of(WORKS.key)
    link = Link(park.app, chance)
    connect(works, link)
    connect(park, None)
    try:
        yield Pair(works, park, link)
    finally:
        for side in (works, park):
            await side.peers.close()
            side.close()
