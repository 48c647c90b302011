"""A small node in memory for the HTTP doors: records, resolution, accounts, and the node's real guard and problems."""

import threading
from base64 import b64decode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import uvicorn
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from node.app import Door, create_app
from node.guard import Guard, merged
from registry.access import Credentials
from registry.delegation import Home, HomeState, Origin
from registry.errors import (
    ExistsError,
    GoneError,
    NotFoundError,
    NotResponsibleError,
    UnauthenticatedError,
    ValueExistsError,
    ValueNotFoundError,
)
from registry.identifier import Identifier, Prefix
from registry.principal import ANONYMOUS, Grant, Operation, Principal, Role, visible
from registry.record import Draft, Record, Status, Tombstone
from registry.results import Done, IfPresent, Page, Result, SetMode
from registry.template import TemplateCatalogue, load_templates
from registry.value import TOMBSTONE_INDEX, Value
from resolver.answer import Answer, Outcome, Proof, Query, Referral, Source
from resolver.handle_api.routes import ACCESS as HANDLE_ACCESS
from resolver.handle_api.routes import router as handle_router
from resolver.linkset.routes import ACCESS as LINK_ACCESS
from resolver.linkset.routes import router as link_router

PREFIX = Prefix("88.107.1001")
NOW = 1_790_000_000
EDITOR = Principal("300:0.NA/88.107.1001", frozenset({Grant(PREFIX, Role.ADMIN)}), "300:0.NA/88.107.1001")
STRANGER = Principal("300:0.NA/88.107.1002", frozenset({Grant(Prefix("88.107.1002"), Role.ADMIN)}))
ACCOUNTS = {"300:0.NA/88.107.1001": ("own-secret", EDITOR), "300:0.NA/88.107.1002": ("other", STRANGER)}
TEMPLATES: TemplateCatalogue = load_templates()


class MemoryRecords:
    """Records in a dictionary; the rules that the Handle door relies on, without signatures or tables."""

    def __init__(self) -> None:
        self.kept: dict[str, Record] = {}

    def put(self, identifier: str, *values: Value, **changes: Any) -> Record:
        made = Record(Identifier.parse(identifier), "generic", 1, Status.ACTIVE, values, NOW)
        made = replace(made, **changes)
        self.kept[made.identifier.key] = made
        return made

    def register(
        self,
        principal: Principal,
        draft: Draft,
        *,
        if_present: IfPresent = IfPresent.CONFIRM,
        expected_version: int | None = None,
    ) -> Result:
        identifier = Identifier.parse_new(draft.identifier)
        self._may_write(principal, identifier)
        kind, values = TEMPLATES.apply(draft, identifier)
        old = self.kept.get(identifier.key)
        if old is not None and old.status is Status.ACTIVE:
            if [v.text for v in old.values] == [v.text for v in values]:
                return Result(identifier.text, Done.UNCHANGED, old.version)
            if if_present is IfPresent.CONFIRM:
                raise ExistsError("registry.access.forbidden", operation="", prefix="", who="")
        version = old.version + 1 if old else 1
        self._keep(identifier, values, version, kind)
        return Result(
            identifier.text, Done.CREATED if old is None or old.tombstone else Done.CHANGED, version
        )

    def set_values(
        self,
        principal: Principal,
        identifier: Identifier,
        *,
        values: Sequence[Value] = (),
        mode: SetMode = SetMode.PUT,
        expected_version: int | None = None,
    ) -> Result:
        old = self._living(principal, identifier)
        by_index = {v.index: v for v in old.values}
        for value in values:
            if mode is SetMode.ADD and value.index in by_index:
                raise ValueExistsError("registry.access.forbidden", operation="", prefix="", who="")
            by_index[value.index] = value
        self._keep(old.identifier, tuple(by_index[i] for i in sorted(by_index)), old.version + 1, old.kind)
        return Result(identifier.text, Done.CHANGED, old.version + 1)

    def remove_values(
        self,
        principal: Principal,
        identifier: Identifier,
        indexes: Sequence[int],
        *,
        expected_version: int | None = None,
    ) -> Result:
        old = self._living(principal, identifier)
        if not set(indexes) <= {v.index for v in old.values}:
            raise ValueNotFoundError("registry.access.forbidden", operation="", prefix="", who="")
        left = tuple(v for v in old.values if v.index not in indexes)
        self._keep(old.identifier, left, old.version + 1, old.kind)
        return Result(identifier.text, Done.CHANGED, old.version + 1)

    def delete(
        self,
        principal: Principal,
        identifier: Identifier,
        *,
        reason: str,
        replaced_by: Sequence[str] = (),
        expected_version: int | None = None,
    ) -> Result:
        old = self._living(principal, identifier)
        self.tombstone(old.identifier.text, Status.DELETED, reason, tuple(replaced_by))
        return Result(identifier.text, Done.CHANGED, old.version + 1)

    def tombstone(
        self, identifier: str, status: Status, reason: str, replaced_by: tuple[str, ...] = ()
    ) -> None:
        old = self.kept[Identifier.parse(identifier).key]
        stone = Tombstone(status.name.lower(), EDITOR.name, reason, NOW, replaced_by)
        value = Value(TOMBSTONE_INDEX, "HZ_TOMBSTONE", stone.to_data(), timestamp=NOW)
        kept = () if status is Status.DELETED else old.values
        values = tuple(sorted((*kept, value), key=lambda v: v.index))
        self.kept[old.identifier.key] = replace(old, status=status, values=values, version=old.version + 1)

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        return [self.kept.get(identifier.key) for identifier in identifiers]

    def count(self, principal: Principal, prefix: Prefix) -> int:
        return len(self._listed(principal, prefix))

    def list_page(self, principal: Principal, prefix: Prefix, page: int, page_size: int) -> Page:
        return Page(tuple(self._listed(principal, prefix)[page * page_size : (page + 1) * page_size]))

    def search(
        self,
        principal: Principal,
        patterns: Any,
        *,
        prefix: Prefix | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        found = [
            record.identifier
            for key, record in sorted(self.kept.items())
            if (after is None or key > after)
            and record.status is Status.ACTIVE
            and (prefix is None or record.identifier.prefix == prefix)
            and all(
                any(
                    v.type == kind and fnmatchcase((v.text or "").upper(), pattern.upper())
                    for v in visible(record.values, principal, record.identifier.prefix)
                )
                for kind, pattern in patterns.items()
            )
        ]
        more = found[limit - 1].key if len(found) > limit else None
        return Page(tuple(found[:limit]), more)

    def _may_write(self, principal: Principal, identifier: Identifier) -> None:
        if identifier.authority != PREFIX:
            raise NotResponsibleError(
                "registry.access.forbidden", operation="record.write", prefix="", who=""
            )
        principal.require(Operation.RECORD_WRITE, identifier.authority)

    def _living(self, principal: Principal, identifier: Identifier) -> Record:
        self._may_write(principal, identifier)
        old = self.kept.get(identifier.key)
        if old is None or old.status is Status.DELETED:
            kind = NotFoundError if old is None else GoneError
            raise kind("resolver.handle_api.not_found", handle=identifier.text)
        return old

    def _keep(self, identifier: Identifier, values: Sequence[Value], version: int, kind: str) -> None:
        stamped = tuple(replace(v, timestamp=NOW) for v in values)
        self.kept[identifier.key] = Record(identifier, kind, version, Status.ACTIVE, stamped, NOW)

    def _listed(self, principal: Principal, prefix: Prefix) -> list[Identifier]:
        if prefix != PREFIX:
            raise NotResponsibleError(
                "registry.access.forbidden", operation="record.list", prefix=prefix.key, who=""
            )
        principal.require(Operation.RECORD_LIST, prefix)
        return [
            r.identifier
            for _, r in sorted(self.kept.items())
            if r.identifier.prefix == prefix and r.status is Status.ACTIVE
        ]


class MemoryResolver:
    """Answers from the same records."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.source, self.age = Source.AUTHORITATIVE, 0
        self.proof: Proof | None = Proof("h.p.s", None, "digest-of-chain", (), PREFIX)
        self.asked: list[Query] = []
        self.answers: dict[str, Answer] = {}

    async def resolve(self, query: Query, principal: Principal = ANONYMOUS) -> Answer:
        self.asked.append(query)
        if query.identifier in self.answers:
            return self.answers[query.identifier]
        identifier = Identifier.parse(query.identifier)
        (record,) = self._records.records([identifier])
        if record is None:
            return Answer(query.identifier, Outcome.NOT_FOUND)
        chosen = [
            v
            for v in record.values
            if not (query.indexes or query.types) or v.index in query.indexes or v.type in query.types
        ]
        shown = visible(chosen, principal, record.identifier.authority)
        outcome = (Outcome.FOUND, Outcome.WITHDRAWN, Outcome.DELETED)[record.status]
        return Answer(
            query.identifier,
            outcome,
            self.source,
            self.age,
            ttl=300,
            record=replace(record, values=shown),
            withheld=tuple(v.index for v in chosen if v not in shown),
            proof=self.proof,
        )


class HomedPrefix:
    """One homed prefix; hosting takes any prefix below it."""

    def __init__(self) -> None:
        self._all = [Home(PREFIX, Origin.JOINED, HomeState.ACTIVE, kid="k")]

    @property
    def homes(self) -> "HomedPrefix":
        return self

    def all(self) -> Sequence[Home]:
        return self._all

    def answers_for(self, prefix: Prefix) -> bool:
        return any(home.prefix == prefix for home in self._all)

    def host(self, principal: Principal, prefix: Prefix) -> Home:
        if prefix.parent is None or not self.answers_for(prefix.parent):
            raise NotResponsibleError("registry.access.forbidden", operation="", prefix=prefix.key, who="")
        principal.require(Operation.PREFIX_DELEGATE, prefix.parent)
        self._all.append(Home(prefix, Origin.HOSTED, HomeState.ACTIVE, kid="k2"))
        return self._all[-1]


class BasicAccounts:
    """Knows the Basic pairs of `ACCOUNTS`, user names escaped once as clients do."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        if credentials.authorization is None:
            return ANONYMOUS
        scheme, _, packed = credentials.authorization.partition(" ")
        user, _, password = b64decode(packed).decode().partition(":")
        known = ACCOUNTS.get(unquote(user))
        if scheme != "Basic" or known is None or known[0] != password:
            raise UnauthenticatedError("node.problems.login")
        return known[1]


class NoLimit:
    """Lets everybody pass."""

    async def principal(self, name: str) -> None:
        return None


@dataclass
class SmallNode:
    """What the doors read at `app.state.node`."""

    registry: Any = field(default_factory=MemoryRecords)
    prefixes: HomedPrefix = field(default_factory=HomedPrefix)
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    templates: TemplateCatalogue = TEMPLATES
    public_url: str = "https://id.example"
    site: dict[str, Any] = field(default_factory=lambda: {"version": 1, "servers": []})

    def __post_init__(self) -> None:
        self.resolver = MemoryResolver(self.registry)

    def entropy(self, size: int) -> bytes:
        return bytes(range(size))

    async def settle(self) -> None:
        """Nothing to wait for: reads and writes meet in the same dictionary."""

    def app(self) -> FastAPI:
        doors = [Door(handle_router, HANDLE_ACCESS), Door(link_router, LINK_ACCESS)]
        guard = Guard(
            access=merged(door.access for door in doors),
            authenticator=BasicAccounts(),
            limiter=NoLimit(),
            settle=self.settle,
        )
        return create_app(self, doors=doors, guard=guard)

    def client(self, **settings: Any) -> AsyncClient:
        transport = ASGITransport(app=self.app(), client=("127.0.0.1", 1))
        return AsyncClient(transport=transport, base_url="https://id.example", **settings)


def a_referral(asked: str) -> Answer:
    return Answer(
        asked, Outcome.REFERRAL, referral=Referral(Prefix("88.107.1002"), ("leaf.jws.a", "top.jws.b"))
    )


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application by uvicorn on a free loopback port; give its base URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waited = threading.Event()
    while not server.started and thread.is_alive():
        waited.wait(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(5)
