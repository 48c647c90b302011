"""The composition root: every part of a node is made here, by hand, with its collaborators by name.

`build` makes the parts and touches nothing but files: no socket, no thread, no task. `Node.prepare` brings the schema
up to date and reads the homed prefixes; `Node.start` begins the background tasks inside the running event loop.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from uuid import UUID

from federation.content.access import ACCESS as CONTENT_ACCESS
from federation.content.routes import make_router as content_router
from federation.escrow.access import ACCESS as ESCROW_ACCESS
from federation.escrow.answering import TakenOver
from federation.escrow.keys import EscrowKeys
from federation.escrow.routes import make_router as escrow_router
from federation.escrow.takeover import Takeovers
from federation.exchange import routes as exchange_routes
from federation.exchange.access import ACCESS as EXCHANGE_ACCESS
from federation.exchange.rotating import SignedLanes
from federation.log.access import ACCESS as LOG_ACCESS
from federation.log.routes import make_router as log_router
from federation.membership.access import ACCESS as MEMBERSHIP_ACCESS
from federation.membership.client import HttpsSuperiors
from federation.membership.routes import make_router as membership_router
from federation.membership.service import Membership
from federation.queries.access import ACCESS as QUERIES_ACCESS
from federation.queries.routes import make_router as queries_router
from node import routes as node_routes
from node.accounts import routes as account_routes
from node.accounts.authenticator import AccountAuthenticator
from node.accounts.secret_files import SecretHash, load_or_create
from node.accounts.service import Accounts
from node.accounts.throttle import Throttle
from node.accounts.tokens import Tokens
from node.app import Door, create_app
from node.connecting import guarded_client
from node.edge import Application, Edge
from node.exchanging import building as exchange_building
from node.exchanging.ground import Ground
from node.guard import Guard, merged
from node.house import Node, Parts
from node.keys import open_keys
from node.limits import Buckets, Limiter, MemoryBuckets, RedisBuckets
from node.metrics import Metrics
from node.settings import Settings
from node.tls import load as load_tls
from registry import servicer as registry_servicer
from registry.clock import Clock
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.prefixes.service import Prefixes
from registry.service import Registry
from registry.storage.engine import Database
from registry.storage.prefixes import PrefixStore, StoredMarks
from registry.template import load_templates
from resolver import hot_routes, servicer, servicer_server
from resolver.authority import RegistryAuthority
from resolver.handle_api import routes as handle_routes
from resolver.handle_api.messages import answer_tail
from resolver.linkset import routes as linkset_routes
from resolver.peer_client import HttpsPeer
from resolver.peer_http import GuardedHttp
from resolver.ready import Ready
from resolver.service import Resolver
from resolver.servicer_hot import HotResolver
from resolver.shared_cache import RedisSharedCache

__all__ = ["Node", "build"]

_POSITIONS = 1 << 53


def build(settings: Settings, clock: Clock) -> Node:
    """Make a node from its settings.

    Raises:
        InvalidValueError: settings that do not fit together.
        UnavailableError: a secret file or certificate cannot be used.
    """
    entropy = os.urandom
    secrets = settings.data / "secrets"
    node_secret = load_or_create(secrets / "node.key", entropy)
    executor = ThreadPoolExecutor(max_workers=settings.storage.threads, thread_name_prefix="hazlink")
    database = Database(settings.database_url, pool_size=settings.storage.pool_size)
    templates = load_templates()
    redis = _redis(settings)
    # The same for all instances of a node, another for every other node on the same Redis.
    space = f"hazlink:{hashlib.sha256(node_secret).hexdigest()[:16]}"

    # registry: prefixes, records
    keys = open_keys(settings)
    store, marks = PrefixStore(database), StoredMarks(database)
    homes = Homes(store=store, keys=keys)
    registry = Registry(database=database, signers=homes, templates=templates, clock=clock, salts=entropy)
    prefixes = Prefixes(
        store=store,
        homes=homes,
        keys=keys,
        records=registry,
        marks=marks,
        clock=clock,
        entropy=entropy,
        secret=node_secret,
        terms=settings.delegations,
        allow_loopback=settings.peers.allow_loopback_peers,
    )

    # what stands in for children that are gone
    escrow_keys = EscrowKeys(settings.data / "keys" / "escrow", settings.passphrase())
    takeovers = Takeovers(
        database=database, homes=homes, anchored=prefixes, records=registry, keys=escrow_keys, clock=clock
    )

    # resolver
    peers = GuardedHttp(settings.peers)
    ready = Ready()
    resolver = Resolver(
        authority=RegistryAuthority(registry=registry, homes=TakenOver(homes, takeovers)),
        peer=HttpsPeer(http=peers),
        anchor=None,  # known once the homed prefixes are read; the node sets it
        anchor_endpoints=(),
        marks=marks,
        ready=ready,
        clock=clock,
        executor=executor,
        greatest_staleness=templates.greatest_staleness,
        chance=lambda: int.from_bytes(entropy(7)) % _POSITIONS / _POSITIONS,
        config=settings.resolver,
        shared=RedisSharedCache(redis=redis, clock=clock, namespace=space) if redis is not None else None,
    )
    hot = HotResolver(resolver=resolver, ready=ready, clock=clock)

    # between nodes
    membership = Membership(
        prefixes=prefixes,
        superiors=HttpsSuperiors(connect=guarded_client(peers)),
        clock=clock,
        executor=executor,
        lanes=SignedLanes(database),
    )

    tokens = Tokens(
        key=load_or_create(secrets / "tokens.key", entropy),
        audience="hazlink",
        seconds=settings.accounts.token_seconds,
        clock=clock,
    )
    ending = Event()
    exchanging = exchange_building.build(
        Ground(
            settings=settings,
            clock=clock,
            entropy=entropy,
            executor=executor,
            database=database,
            keys=keys,
            homes=homes,
            prefix_store=store,
            marks=marks,
            prefixes=prefixes,
            registry=registry,
            templates=templates,
            tokens=tokens,
            sharing_secret=load_or_create(secrets / "sharing.key", entropy),
            escrow_keys=escrow_keys,
            takeovers=takeovers,
            stopping=ending.is_set,
            confirm=membership.confirm,
        )
    )

    # who may come in, how often, and what is counted
    accounts = Accounts(
        database=database,
        clock=clock,
        config=settings.accounts,
        secret_hash=SecretHash(load_or_create(secrets / "accounts.key", entropy)),
        randomness=entropy,
    )
    authenticator = _authenticator(
        settings,
        clock=clock,
        accounts=accounts,
        executor=executor,
        entropy=entropy,
        tokens=tokens,
        fence=exchanging.sessions.fence,
    )
    limiter = _limiter(settings, clock, redis, space)
    metrics = Metrics()

    node = Node(
        Parts(
            settings=settings,
            clock=clock,
            database=database,
            executor=executor,
            entropy=entropy,
            templates=templates,
            homes=homes,
            prefixes=prefixes,
            registry=registry,
            resolver=resolver,
            hot=hot,
            accounts=accounts,
            authenticator=authenticator,
            membership=membership,
            exchanging=exchanging,
            ending=ending,
            metrics=metrics,
            limiter=limiter,
            peers=peers,
            redis=redis,
            tls=load_tls(settings.tls, settings.data),
            rpc_access=merged((servicer.ACCESS, registry_servicer.ACCESS, servicer_server.ACCESS)),
        )
    )
    _mount(node, ready, limiter)
    return node


def _mount(node: Node, ready: Ready, limiter: Limiter) -> None:
    """Make the HTTP application: doors, guard, edge, dispatcher."""
    settings = node.settings
    # Order matters only where templates overlap; the most asked come first.
    doors = (
        Door(handle_routes.router, handle_routes.ACCESS),
        Door(linkset_routes.router, linkset_routes.ACCESS),
        Door(hot_routes.router, hot_routes.ACCESS),
        Door(membership_router(), MEMBERSHIP_ACCESS),
        Door(exchange_routes.make_router(), EXCHANGE_ACCESS),
        Door(log_router(), LOG_ACCESS),
        Door(content_router(), CONTENT_ACCESS),
        Door(escrow_router(), ESCROW_ACCESS),
        Door(queries_router(), QUERIES_ACCESS),
        Door(account_routes.router, account_routes.ACCESS),
        Door(node_routes.router, node_routes.access(metrics_for_anyone=settings.metrics.anyone)),
    )
    guard = Guard(
        access=merged(door.access for door in doors),
        authenticator=node.authenticator,
        limiter=limiter,
        settle=node.catch_up,
        proxied=bool(settings.doors.trusted_proxies),
    )

    def edge(app: Application) -> Edge:
        return Edge(
            app,
            limits=settings.limits,
            limiter=limiter,
            metrics=node.metrics,
            clock=node.clock,
            new_id=lambda: str(UUID(bytes=node.entropy(16), version=4)),
            access_log=settings.logs.access,
            larger=exchange_routes.LARGER,
        )

    def dispatcher(app: Application) -> hot_routes.HotRoutes:
        made = hot_routes.HotRoutes(
            app,
            resolver=node.resolver,
            hot=node.hot,
            ready=ready,
            clock=node.clock,
            handle_tail=answer_tail,
            throttle=limiter,
        )
        node.metrics.follow({"http_hot_hits": lambda: made.hits, "http_hot_misses": lambda: made.misses})
        return made

    node.metrics.follow({"grpc_hot_hits": lambda: node.hot.hits, "grpc_hot_misses": lambda: node.hot.misses})
    app = create_app(node, doors=doors, guard=guard)
    node.use_app(app, guard=guard, edge=edge, hot_routes=dispatcher)


def _authenticator(
    settings: Settings,
    *,
    clock: Clock,
    accounts: Accounts,
    executor: ThreadPoolExecutor,
    entropy: Callable[[int], bytes],
    tokens: Tokens,
    fence: Callable[[Prefix], int | None],
) -> AccountAuthenticator:
    config = settings.accounts
    return AccountAuthenticator(
        accounts=accounts,
        tokens=tokens,
        throttle=Throttle(
            clock=clock,
            failures=config.failures_before_wait,
            longest_wait_seconds=config.longest_wait_seconds,
        ),
        clock=clock,
        executor=executor,
        recheck_seconds=config.recheck_seconds,
        randomness=entropy,
        fence=fence,
    )


def _limiter(settings: Settings, clock: Clock, redis: Any, space: str) -> Limiter:
    limits = settings.limits
    addresses = None
    if limits.address_per_second > 0:
        addresses = MemoryBuckets(
            per_second=limits.address_per_second, burst=limits.address_burst, clock=clock
        )
    principals: Buckets | None = None
    if limits.principal_per_second > 0:
        memory = MemoryBuckets(
            per_second=limits.principal_per_second, burst=limits.principal_burst, clock=clock
        )
        principals = memory
        if redis is not None:
            principals = RedisBuckets(
                redis=redis,
                space=f"{space}:rate",
                per_second=limits.principal_per_second,
                burst=limits.principal_burst,
                clock=clock,
                instead=memory,
            )
    return Limiter(addresses=addresses, principals=principals)


def _redis(settings: Settings) -> Any:
    if not settings.storage.redis_url:
        return None
    from redis.asyncio import Redis  # noqa: PLC0415 — most nodes have none

    return Redis.from_url(settings.storage.redis_url, socket_timeout=0.5, socket_connect_timeout=0.5)
