"""A built node: its parts, what it tells about itself, and its life from start to stop."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any

from fastapi import FastAPI

from federation.exchange.storage.references import missing, references
from federation.log.fsck import FsckReport, fsck
from federation.log.witness import Witness
from federation.membership.service import Membership
from node import schema
from node.accounts.authenticator import AccountAuthenticator
from node.accounts.service import Accounts
from node.background import Background
from node.edge import Application, Edge
from node.exchanging.building import Exchanging
from node.exchanging.running import Running
from node.forwarding_servicer import CallForwarder, Settling
from node.guard import Guard
from node.handle_site import describe_site
from node.health import Health
from node.limits import Limiter
from node.logs import logger
from node.metrics import Metrics
from node.settings import Settings
from node.tls import TlsFiles
from registry.access import Access, Authenticator, Credentials
from registry.clock import Clock
from registry.delegation import HomeState
from registry.errors import HazlinkError, UnavailableError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.prefixes.service import Prefixes
from registry.principal import Principal
from registry.service import Registry
from registry.servicer import SERVICE as WRITING
from registry.servicer import RegistryServicer
from registry.storage.engine import Database
from registry.template import TemplateCatalogue
from registry.trust.statement import read
from resolver import servicer_server as rpc
from resolver.hot_routes import HotRoutes
from resolver.peer_http import GuardedHttp
from resolver.pool import in_pool
from resolver.ports import Endpoint
from resolver.service import Resolver
from resolver.servicer import SERVICE as READING
from resolver.servicer import ResolverServicer
from resolver.servicer_guard import Guard as RpcGuard
from resolver.servicer_hot import HotResolver

__all__ = ["Node", "Parts"]

_LOOK_SECONDS = 0.5
_SAMPLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the composition root made."""

    settings: Settings
    clock: Clock
    database: Database
    executor: ThreadPoolExecutor
    entropy: Callable[[int], bytes]
    templates: TemplateCatalogue
    homes: Homes
    prefixes: Prefixes
    registry: Registry
    resolver: Resolver
    hot: HotResolver
    accounts: Accounts
    authenticator: AccountAuthenticator
    membership: Membership
    exchanging: Exchanging
    ending: Event
    metrics: Metrics
    limiter: Limiter
    peers: GuardedHttp
    redis: Any
    tls: TlsFiles | None
    rpc_access: Access


class Node:
    """One node in one process. What the doors of all rooms read of it stands here as attributes.

    Concurrency: parts are made before anything runs and never replaced; `start` and `stop` belong to the event loop.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.settings = parts.settings
        self.clock = parts.clock
        self.executor: Executor = parts.executor
        self.entropy = parts.entropy
        self.templates = parts.templates
        self.prefixes = parts.prefixes
        self.registry = parts.registry
        self.resolver = parts.resolver
        self.hot = parts.hot
        self.accounts = parts.accounts
        self.authenticator = parts.authenticator
        self.membership = parts.membership
        self.metrics = parts.metrics
        self.exchanging = parts.exchanging
        self.received = parts.exchanging.received
        self.own_entries = parts.exchanging.own_entries
        self.notices = parts.exchanging.notices
        self.queries = parts.exchanging.queries
        self.takeovers = parts.exchanging.takeovers
        self.exchange = parts.exchanging.doors
        self.log = parts.exchanging.logbook.reader
        self.exporter = parts.exchanging.exporter
        self._running = Running(
            parts=parts.exchanging,
            homes=parts.homes,
            membership=parts.membership,
            endpoints=self.endpoints,
            clock=parts.clock,
            executor=parts.executor,
        )
        self.background = Background(clock=parts.clock)
        self.health = Health(
            {
                "database": self._check_database,
                "prefixes": self._check_prefixes,
                "background": self.background.check,
                "election": parts.exchanging.election.check,
                "healing": parts.exchanging.healer.check,
                "exchange": self._check_exchange,
            }
        )
        self._app: FastAPI | None = None
        self._in_front: Callable[[Application], Edge] | None = None
        self._hot_routes: Callable[[Application], HotRoutes] | None = None
        self._guard: Guard | None = None
        self._seen: object = None

    def use_app(
        self,
        app: FastAPI,
        *,
        guard: Guard,
        edge: Callable[[Application], Edge],
        hot_routes: Callable[[Application], HotRoutes],
    ) -> None:
        """Take the application; the composition root calls it once."""
        self._app, self._in_front, self._hot_routes = app, edge, hot_routes
        self._guard = guard

    # what it tells about itself

    @property
    def guard(self) -> Guard:
        """What stands in front of every HTTP route."""
        if self._guard is None:
            raise RuntimeError("use_app comes first")
        return self._guard

    @property
    def http_access(self) -> Access:
        """The rule of every HTTP route."""
        return self.guard.access

    @property
    def rpc_access(self) -> Access:
        """The rule of every RPC."""
        return self._parts.rpc_access

    @property
    def app(self) -> FastAPI:
        """The FastAPI application, with its OpenAPI description."""
        if self._app is None:
            raise RuntimeError("use_app comes first")
        return self._app

    @property
    def application(self) -> Application:
        """The application behind its edge, without the dispatcher of the hottest routes."""
        if self._in_front is None:
            raise RuntimeError("use_app comes first")
        return self._in_front(self.app)

    @property
    def public_url(self) -> str:
        """Base URL under which others reach this node."""
        return self.settings.public_url

    @property
    def site(self) -> Mapping[str, Any]:
        """How this node is reached, as the JSON of an HS_SITE value."""
        known = self.homed()
        jwk = None
        if known:
            try:
                jwk = self._parts.homes.signer_for(known[0])[0].jwk
            except HazlinkError:
                jwk = None
        description = known[0].key if known else "hazlink"
        return describe_site(self.public_url, description=description, jwk=jwk)

    def endpoints(self) -> dict[str, Any]:
        """Return where this node answers, as delegations carry it."""
        tls = self._parts.tls
        return {
            "resolve": [self.public_url],
            "exchange": self.public_url,
            "tls_x5t_s256": tls.x5t_s256 if tls is not None else None,
            "log_vkey": self._parts.exchanging.logbook.vkey,
        }

    @property
    def witness(self) -> Witness | None:
        """What cosigns the logs of others; None before this node has a log of its own."""
        return self._parts.exchanging.logbook.witness(self._parts.exchanging.known_logs)

    def homed(self) -> list[Prefix]:
        """Return the prefixes this node answers for."""
        homes = self._parts.homes
        return [home.prefix for home in homes.all() if homes.answers_for(home.prefix)]

    def known_prefixes(self) -> list[Prefix]:
        """Return every prefix this node homes or has asked for."""
        return [home.prefix for home in self._parts.homes.all()]

    # doors

    def asgi(self, wrap: Callable[[Application], Application] = lambda app: app) -> Application:
        """Return the whole HTTP application.

        Args:
            wrap: puts something between the edge and the application: a worker's forwarding.
        """
        if self._in_front is None or self._hot_routes is None:
            raise RuntimeError("use_app comes first")
        return self._hot_routes(self._in_front(wrap(self.app)))

    def grpc_door(
        self,
        *,
        address: str,
        share_port: bool,
        tls: TlsFiles | None,
        writes: CallForwarder | None = None,
        limited: bool = True,
    ) -> rpc.GrpcServer:
        """Return a gRPC server with every service on it.

        Args:
            address: `host:port`, or `unix:path` for the workers' door.
            share_port: several processes listen on it.
            tls: certificate and key; None: plain.
            writes: in a worker, what hands the writing calls to the first process.
            limited: count the calls of each address; not at the workers' door, where all come from one.
        """
        parts = self._parts
        guard = RpcGuard(
            access=parts.rpc_access,
            authenticator=_Counted(parts.authenticator, parts.limiter),
            tls=tls is not None,
            throttle=parts.limiter if limited else None,
        )
        ResolverServicer(hot=parts.hot, watching=parts.resolver).add_to(guard)
        if writes is not None:
            writes.add_to(guard)
        else:
            servicer = RegistryServicer(registry=parts.registry, executor=parts.executor)
            servicer.add_to(Settling(guard, self.catch_up))
        limits = parts.settings.limits
        return rpc.GrpcServer(
            settings=rpc.GrpcSettings(
                address=address,
                share_port=share_port,
                max_request_bytes=limits.max_body_bytes,
                max_streams=limits.max_streams,
            ),
            guard=guard,
            services=(READING, WRITING),
            tls=_pem(tls) if tls is not None else None,
        )

    def call_forwarder(self, path: str) -> CallForwarder:
        """Return what hands a worker's writing calls to the first process."""
        methods = [
            door.rpartition("/")[2] for door in self._parts.rpc_access if door.startswith(f"/{WRITING}/")
        ]
        return CallForwarder(service=WRITING, methods=methods, path=path, written=self.catch_up)

    def check_log(self, progress: Callable[[int, int], None] | None = None) -> FsckReport:
        """Check the whole log against itself, the mark file and the rows of the exchange that name its leaves.

        Raises:
            UnavailableError: the database cannot be read.
        """
        parts = self._parts.exchanging
        marks = parts.mark_file if parts.mark_file.exists() else None
        with parts.database.read() as connection:
            return fsck(
                parts.database,
                marks=marks,
                references=references(connection),
                missing=missing(connection),
                progress=progress,
            )

    # life

    def prepare(self) -> None:
        """Bring the schema up to date and read what is homed.

        Raises:
            UnavailableError: the database cannot be used.
        """
        schema.upgrade(self._parts.database)
        self._parts.homes.refresh()
        self._take_anchor()

    async def start(self, *, first: bool) -> None:
        """Begin to live in the running event loop.

        Args:
            first: this process owns the writes and the timers.

        Raises:
            UnavailableError: the database cannot be used.
        """
        parts = self._parts
        if first:
            await in_pool(parts.executor, self.prepare)
            await in_pool(parts.executor, parts.prefixes.upkeep)
        else:
            await in_pool(parts.executor, parts.homes.refresh)
        await self._look()
        background = self.background
        background.start("changes", parts.resolver.follow_changes)
        background.every("prefixes", _LOOK_SECONDS, self._look)
        background.every("metrics", _SAMPLE_SECONDS, self._sample)
        if first:
            background.start("exchange", lambda: parts.exchanging.election.run(self._running.work))
            poll = parts.settings.membership.poll_seconds
            background.start("membership", lambda: parts.membership.run(every_seconds=poll))

    async def catch_up(self) -> None:
        """Return when this process serves nothing older than what was committed before."""
        try:
            await self._parts.resolver.catch_up()
        except UnavailableError:
            logger("node").warning("could not catch up with the change table")

    def begin_stopping(self) -> None:
        """Say that this process ends: readiness turns, and nobody who polls is kept waiting."""
        self.health.stopping = True
        self._parts.ending.set()

    async def stop(self) -> None:
        """End the background tasks and let go of everything."""
        await self.background.stop()
        await self.disconnect()
        self.close()

    async def disconnect(self) -> None:
        """Close the connections to other nodes and to Redis."""
        await self._parts.resolver.close()
        await self._parts.peers.close()
        await self._parts.exchanging.peers.close()
        if self._parts.redis is not None:
            await self._parts.redis.aclose()

    def close(self) -> None:
        """Let go of threads and database."""
        self._parts.exchanging.close()
        self._parts.executor.shutdown(wait=True, cancel_futures=True)
        self._parts.database.close()

    # inside

    async def _look(self) -> None:
        """See whether prefixes changed, here or in another process, and let the resolver know the anchor."""
        await in_pool(self._parts.executor, self._parts.homes.refresh)
        await in_pool(self._parts.executor, self.takeovers.refresh)
        homes = self._parts.homes
        now = (homes.all(), homes.delegations())
        if now != self._seen:
            self._seen = now
            await in_pool(self._parts.executor, self._take_anchor)
            await in_pool(self._parts.executor, self._parts.exchanging.witnessing.refresh_logs)

    def _take_anchor(self) -> None:
        try:
            anchor = self._parts.prefixes.anchor()
        except HazlinkError as error:
            logger("node").error("the trust anchor does not hold", reason=str(error))
            return
        if anchor is not None:
            self._parts.resolver.use_anchor(anchor, self._top_endpoints())

    def _top_endpoints(self) -> Sequence[Endpoint]:
        """Return where the top tier answers, from the verified chains this node holds."""
        homes = self._parts.homes
        for home in homes.all():
            chain = homes.chain(home.prefix)
            if len(chain) > 1:
                said = read(chain[-1]).endpoints
                return tuple(Endpoint(url, said.tls_x5t_s256) for url in said.resolve)
        return ()

    async def _sample(self) -> None:
        self.metrics.sample()
        report = await in_pool(self._parts.executor, self._parts.exchanging.status.report)
        for name, value in report.numbers().items():
            self.metrics.level(name, value)

    async def _check_exchange(self) -> HazlinkError | None:
        return await in_pool(self._parts.executor, self._parts.exchanging.status.check)

    async def _check_database(self) -> HazlinkError | None:
        def ask() -> None:
            with self._parts.database.read() as connection:
                connection.exec_driver_sql("SELECT 1")

        await in_pool(self._parts.executor, ask)
        return None

    async def _check_prefixes(self) -> HazlinkError | None:
        homes = self._parts.homes.all()
        now = self.clock.now()
        for home in homes:
            chain = self._parts.homes.chain(home.prefix)
            if home.state is HomeState.ACTIVE and chain and read(chain[0]).exp <= now:
                return UnavailableError(
                    "node.health.expired", prefix=home.prefix.key, at=_as_text(read(chain[0]).exp)
                )
        if any(self._parts.homes.answers_for(home.prefix) for home in homes):
            return None
        if homes:
            return UnavailableError("node.health.waiting", prefix=homes[0].prefix.key)
        return UnavailableError("node.health.no_prefix")


class _Counted:
    """An authenticator that also counts how often each login asks."""

    def __init__(self, authenticator: Authenticator, limiter: Limiter) -> None:
        self._authenticator = authenticator
        self._limiter = limiter

    async def authenticate(self, credentials: Credentials) -> Principal:
        principal = await self._authenticator.authenticate(credentials)
        if not principal.is_anonymous:
            await self._limiter.principal(principal.name)
        return principal


def _pem(tls: TlsFiles) -> rpc.TlsFiles:
    return rpc.TlsFiles(key_pem=tls.private_key.read_bytes(), chain_pem=tls.certificate.read_bytes())


def _as_text(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).isoformat(timespec="minutes")
