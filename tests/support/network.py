"""Several nodes in one process: real signatures, real resolvers, the real messages between them.

network = Network("88", "88.107", "88.107.1001")        # each delegated by the longest one above it
network.put("88.107.1001/BATCH-1", text="…")             # signed by the longest homed prefix
answer = await network.resolve("88.107.1002", "88.107.1001/BATCH-1")
network.partition("88.107.1002", "88.107.1001")          # neither reaches the other; `heal` ends it
network.stop("88.107.1001")                              # nobody reaches it; `start` ends it

A node is named by its first prefix and may home more (`hosts`). What it says can be changed on the way by `tamper`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Self

from proto import resolver_pb2 as pb
from registry.errors import UnavailableError
from registry.identifier import Identifier, Prefix
from registry.principal import ANONYMOUS, Principal
from registry.record import Record, Status, Tombstone
from registry.results import Change
from registry.trust.chain import Marks, MemoryMarks
from registry.trust.record_signature import sign_record
from registry.trust.statement import Endpoints
from registry.value import TOMBSTONE_INDEX, Value
from resolver.answer import Answer, Query
from resolver.config import ResolverConfig
from resolver.ports import Endpoint, SharedCache
from resolver.ready import Ready
from resolver.service import Resolver
from resolver.servicer_messages import (
    answer_to_message,
    batch_answers,
    batch_request,
    queries_from_message,
)
from tests.support.trust import NOW, a_root, a_signer, a_statement

__all__ = ["Books", "HandClock", "Network", "Node", "Tamper", "url_of"]

Tamper = Callable[[Query, Answer], Answer]

STALENESS = {"batch": 300, "substance": 86_400, "prefix": 86_400}


def url_of(name: str) -> str:
    return f"https://{name}.example"


class HandClock:
    """A clock moved by hand; whoever sleeps wakes when it is moved far enough."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time - NOW

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.time + seconds, woken))
        await woken.wait()

    def move(self, seconds: float) -> None:
        self.time += seconds
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self.time]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.time]
        for _, woken in due:
            woken.set()


@dataclass
class Books:
    """`resolver.ports.Authority` in memory."""

    prefixes: set[str]
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    delegated: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kept: dict[str, Record] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    lookups: int = 0
    broken: bool = False

    def _home(self, prefix: Prefix) -> Prefix | None:
        for above in prefix.ancestors():
            if above.key in self.prefixes:
                return above
            if above.key in self.delegated:
                return None
        return None

    def homes(self, identifier: Identifier) -> bool:
        named = identifier.named_prefix
        return self._home(identifier.authority) is not None or (
            named is not None and named.key in self.prefixes
        )

    def is_copy(self, identifier: Identifier) -> bool:
        return self._home(identifier.authority) is None

    def owner(self, identifier: Identifier) -> Prefix:
        return self._home(identifier.authority) or identifier.authority

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        self.lookups += 1
        if self.broken:
            raise UnavailableError("registry.storage.unavailable", reason="broken by the test")
        return [self.kept.get(identifier.key) for identifier in identifiers]

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        home = self._home(prefix)
        return self.chains.get(home.key, ()) if home else ()

    def chain_of(self, record: Record) -> tuple[str, ...]:
        assert record.signature is not None
        return self.chains.get(record.signature.issuer, ())

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        if self._home(prefix) is not None:
            return ()
        return next((self.delegated[p.key] for p in prefix.ancestors() if p.key in self.delegated), ())

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        return self.log[after : after + limit]

    def last_change(self) -> int:
        return len(self.log)

    def put(self, record: Record) -> None:
        self.kept[record.identifier.key] = record
        self.log.append(
            Change(
                len(self.log) + 1,
                record.identifier.key,
                record.version,
                record.status.value,
                record.modified,
            )
        )


class _Wire:
    """`resolver.ports.Peer` between the nodes of one network, over the bytes of the real messages."""

    def __init__(self, network: "Network", name: str) -> None:
        self._network = network
        self._name = name
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def ask(self, endpoint: Endpoint, queries: Sequence[Query]) -> list[Answer]:
        name = endpoint.url.removeprefix("https://").removesuffix(".example")
        self.asked.append((name, tuple(query.identifier for query in queries)))
        await asyncio.sleep(0)
        await self._network.passage(self._name, name)
        node = self._network.nodes[name]
        questions = queries_from_message(pb.BatchResolveRequest.FromString(batch_request(queries)))
        answers = await node.resolver.resolve_many(questions)
        if node.tamper is not None:
            answers = [node.tamper(q, a) for q, a in zip(questions, answers, strict=True)]
        reply = pb.BatchResolveReply(replies=[answer_to_message(answer) for answer in answers])
        return batch_answers(reply.SerializeToString(), queries)


@dataclass
class Node:
    """One node of the network."""

    name: str
    books: Books
    resolver: Resolver
    wire: _Wire
    ready: Ready
    tamper: Tamper | None = None

    @property
    def asked(self) -> list[str]:
        """Whom it asked, in order."""
        return [name for name, _ in self.wire.asked]


class Network:
    """Nodes by name. Every prefix is delegated by the longest prefix above it in the network, the first by the root.

    Args:
        names: nodes, each homing the prefix of its name.
        hosts: node → further prefixes homed there.
        config: settings of every resolver.
        statements: prefix → what is special about its statement.
    """

    def __init__(
        self,
        *names: str,
        hosts: Mapping[str, Sequence[str]] | None = None,
        config: ResolverConfig | None = None,
        statements: Mapping[str, Mapping[str, Any]] | None = None,
        shared: Mapping[str, SharedCache] | None = None,
    ) -> None:
        self.clock = HandClock()
        self.root = a_root()
        self.executor = ThreadPoolExecutor(2)
        self.nodes: dict[str, Node] = {}
        self._config = config or ResolverConfig()
        self._cut: set[frozenset[str]] = set()
        self._stopped: set[str] = set()
        self._held: dict[str, asyncio.Event] = {}
        self._home: dict[str, str] = {}
        self._special = {key: dict(value) for key, value in (statements or {}).items()}
        self.tokens: dict[str, str] = {}
        self._shared = dict(shared or {})
        for name in names:
            for prefix in (name, *(hosts or {}).get(name, ())):
                self._home[prefix] = name
        for name in names:
            self.add_node(name)
        for prefix in sorted(self._home, key=lambda prefix: prefix.count(".")):
            self.delegate(prefix)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes.values():
            await node.resolver.close()
        self.executor.shutdown()

    # --- building ---------------------------------------------------------------------------------------------

    def add_node(self, name: str, *, books: Books | None = None, marks: Marks | None = None) -> Node:
        """Add a node, or another instance over the books of one."""
        books = books or Books({prefix for prefix, home in self._home.items() if home == name})
        ready, wire = Ready(), _Wire(self, name)
        resolver = Resolver(
            authority=books,
            peer=wire,
            anchor=self.root.anchor,
            anchor_endpoints=(Endpoint(url_of(next(iter(self._home.values())))),),
            marks=marks or MemoryMarks(),
            ready=ready,
            clock=self.clock,
            executor=self.executor,
            greatest_staleness=STALENESS.__getitem__,
            chance=lambda: 0.0,
            config=self._config,
            shared=self._shared.get(name),
        )
        node = Node(name, books, resolver, wire, ready)
        self.nodes[name] = node
        return node

    def superior(self, prefix: str) -> str | None:
        above = Prefix.parse(prefix).ancestors()[1:]
        return next((one.key for one in above if one.key in self._home), None)

    def delegate(self, prefix: str, **changes: Any) -> str:
        """Sign the statement about a prefix (anew), and give it to both ends."""
        content = {"endpoints": Endpoints(resolve=(url_of(self._home[prefix]),))}
        content |= self._special.get(prefix, {}) | changes
        self._special[prefix] = content
        above = self.superior(prefix)
        token = a_statement(prefix, above, **content)
        self.tokens[prefix] = token
        if above is not None and self._home[above] != self._home[prefix]:
            self.nodes[self._home[above]].books.delegated[prefix] = ()
        for known in sorted(self.tokens, key=lambda one: one.count(".")):
            self._spread(known)
        return token

    def _spread(self, prefix: str) -> None:
        chain, at = [], prefix
        while True:
            chain.append(self.tokens[at])
            above = self.superior(at)
            if above is None:
                break
            at = above
        self.nodes[self._home[prefix]].books.chains[prefix] = tuple(chain)
        above = self.superior(prefix)
        if above is not None and self._home[above] != self._home[prefix]:
            self.nodes[self._home[above]].books.delegated[prefix] = tuple(chain)

    # --- records ----------------------------------------------------------------------------------------------

    def put(
        self,
        identifier: str,
        *values: Value,
        text: str = "text",
        kind: str = "batch",
        status: Status = Status.ACTIVE,
        version: int | None = None,
        ttl: int = 86_400,
        signer: str | None = None,
    ) -> Record:
        """Sign a record and store it at its home; each call is the next version."""
        named = Identifier.parse(identifier)
        issuer = signer or next(p.key for p in named.authority.ancestors() if p.key in self._home)
        books = self.nodes[self._home[issuer]].books
        before = books.kept.get(named.key)
        at = int(self.clock.now())
        content = values or (Value(2000, "NAME", text.encode(), ttl=ttl, timestamp=at),)
        if status is not Status.ACTIVE:
            stone = Tombstone(state=status.name.lower(), by="test", reason="recalled", at=at)
            content += (Value(TOMBSTONE_INDEX, "HZ_TOMBSTONE", stone.to_data(), ttl=ttl, timestamp=at),)
        record = Record(
            identifier=named,
            kind=kind,
            version=version or (before.version + 1 if before else 1),
            status=status,
            values=tuple(sorted(content, key=lambda value: value.index)),
            modified=at,
        )
        record = sign_record(record, a_signer(issuer), Prefix.parse(issuer))
        books.put(record)
        return record

    def withdraw(self, identifier: str, status: Status = Status.WITHDRAWN) -> Record:
        before = self.record(identifier)
        values = tuple(value for value in before.values if value.index != TOMBSTONE_INDEX)
        return self.put(identifier, *values, kind=before.kind, status=status)

    def record(self, identifier: str) -> Record:
        key = Identifier.parse(identifier).key
        return next(node.books.kept[key] for node in self.nodes.values() if key in node.books.kept)

    # --- weather ----------------------------------------------------------------------------------------------

    def partition(self, one: str, other: str) -> None:
        """Let neither of two nodes reach the other."""
        self._cut.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        self._cut.discard(frozenset((one, other)))

    def stop(self, name: str) -> None:
        self._stopped.add(name)

    def start(self, name: str) -> None:
        self._stopped.discard(name)

    def hold(self, name: str) -> asyncio.Event:
        """Let a node answer only once the event is set."""
        self._held[name] = asyncio.Event()
        return self._held[name]

    async def passage(self, one: str, other: str) -> None:
        """Let a question through, or not."""
        if other in self._held:
            await self._held[other].wait()
        gone = other in self._stopped or other not in self.nodes
        if gone or frozenset((one, other)) in self._cut:
            raise UnavailableError("resolver.peer.silent", field="url", value=other)

    # --- asking -----------------------------------------------------------------------------------------------

    async def resolve(
        self, at: str, identifier: str, principal: Principal = ANONYMOUS, **options: Any
    ) -> Answer:
        """Ask one node."""
        return await self.nodes[at].resolver.resolve(Query(identifier, **options), principal)

    def tamper(self, name: str, change: Tamper | None = None, **changes: Any) -> None:
        """Have a node change its answers to other nodes; fields of the answer may be given by name."""
        self.nodes[name].tamper = change or (lambda _, answer: replace(answer, **changes))
