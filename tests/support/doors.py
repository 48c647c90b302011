"""Fakes and builders for the doors: a resolver with answers by heart, an authenticator, a clock that stands still."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proto import resolver_pb2 as pb
from registry.access import ANYONE, Access, Credentials
from registry.errors import ForbiddenError, HazlinkError, RateLimitError, UnauthenticatedError
from registry.identifier import Identifier, Prefix
from registry.principal import ANONYMOUS, Grant, Principal, Role, visible
from registry.record import Record, Status, Tombstone
from registry.value import PRIVATE, TOMBSTONE_INDEX, Value
from resolver.answer import Answer, Outcome, Proof, Query, Source
from resolver.ports import Change
from resolver.ready import Ready
from resolver.servicer import ACCESS as RESOLVER_ACCESS
from resolver.servicer import SERVICE, ResolverServicer
from resolver.servicer_guard import Guard, Throttle
from resolver.servicer_hot import HotResolver
from resolver.servicer_server import ACCESS as SERVER_ACCESS
from resolver.servicer_server import GrpcServer, GrpcSettings, TlsFiles

EDITOR = Principal("editor@88.107.1001", frozenset({Grant(Prefix("88.107.1001"), Role.EDITOR)}))


class StillClock:
    """A clock that moves when told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


def a_record(spelling: str = "88.107.1001/BATCH-1", **changes: Any) -> Record:
    values = (
        Value(2000, "NAME", "环氧乙烷".encode(), timestamp=1_700_000_000),
        Value(2001, "CAS_NO", b"75-21-8", timestamp=1_700_000_000),
        Value(2002, "MAKER_NOTE", b"secret", timestamp=1_700_000_000, salt=b"s" * 16).seen_as(PRIVATE),
    )
    record = Record(
        identifier=Identifier.parse(spelling),
        kind="batch",
        version=3,
        status=Status.ACTIVE,
        values=values,
        modified=1_700_000_000,
    )
    return replace(record, **changes)


def a_withdrawn_record(spelling: str = "88.107.1001/OLD") -> Record:
    stone = Tombstone("withdrawn", "editor", "召回", 1_700_000_001, ("88.107.1001/NEW",))
    record = a_record(spelling, status=Status.WITHDRAWN, version=4)
    kept = (Value(TOMBSTONE_INDEX, "HZ_TOMBSTONE", stone.to_data()), *record.values)
    return replace(record, values=kept)


A_PROOF = Proof(
    public_jws="h.p.s",
    restricted_jws=None,
    chain_sha256="digest-of-chain",
    chain=(),
    issuer=Prefix("88.107.1001"),
)


class FakeResolver:
    """Knows its records and errors by heart; counts what it is asked; tells changes to its watchers."""

    def __init__(
        self, records: Sequence[Record] = (), errors: Mapping[str, HazlinkError] | None = None
    ) -> None:
        self.records = {record.identifier.key: record for record in records}
        self.errors = dict(errors or {})
        self.source, self.age, self.ttl = Source.AUTHORITATIVE, 0, 86_400
        self.asked: list[Query] = []
        self.changes: asyncio.Queue[Change] = asyncio.Queue()
        self.before_answer: Any = None

    async def resolve(self, query: Query, principal: Principal = ANONYMOUS) -> Answer:
        self.asked.append(query)
        if query.identifier in self.errors:
            raise self.errors[query.identifier]
        record = self.records.get(Identifier.parse(query.identifier).key)
        if self.before_answer:
            await self.before_answer()
        if record is None:
            return Answer(query.identifier, Outcome.NOT_FOUND, ttl=60)
        shown = visible(record.values, principal, record.identifier.prefix)
        outcome = {Status.ACTIVE: Outcome.FOUND, Status.WITHDRAWN: Outcome.WITHDRAWN}[record.status]
        return Answer(
            asked=query.identifier,
            outcome=outcome,
            source=self.source,
            age=self.age,
            ttl=self.ttl,
            record=replace(record, values=shown),
            withheld=tuple(v.index for v in record.values if v not in shown),
            proof=replace(A_PROOF, chain=("leaf", "top") if query.with_chain else ()),
        )

    async def resolve_many(self, queries: Sequence[Query], principal: Principal = ANONYMOUS) -> list[Answer]:
        answers = []
        for query in queries:
            try:
                answers.append(await self.resolve(query, principal))
            except HazlinkError as error:
                answers.append(Answer(query.identifier, Outcome.FAILED, error=error))
        return answers

    async def watch(
        self, identifiers: Sequence[str], prefix: Prefix | None, after: int, principal: Principal
    ) -> AsyncIterator[Change]:
        while True:
            change = await self.changes.get()
            if change.position > after:
                yield change


class FakeAuthenticator:
    """Knows two tokens; notes what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Principal:
        self.shown.append(credentials)
        match credentials.authorization:
            case None:
                return ANONYMOUS
            case "Bearer editor":
                return EDITOR
            case "Bearer banned":
                raise ForbiddenError(
                    "registry.access.forbidden", operation="session", prefix="*", who="banned"
                )
        raise UnauthenticatedError("registry.access.login_needed", operation="session", prefix="*")


class Doors:
    """A whole gRPC door on loopback around a fake resolver."""

    def __init__(
        self,
        resolver: FakeResolver,
        *,
        access: Access | None = None,
        throttle: Throttle | None = None,
        settings: GrpcSettings | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.resolver, self.clock, self.ready = resolver, StillClock(), Ready()
        self.authenticator = FakeAuthenticator()
        self.hot = HotResolver(resolver=resolver, ready=self.ready, clock=self.clock)
        rules = {**RESOLVER_ACCESS, **SERVER_ACCESS} if access is None else access
        self.guard = Guard(
            access=rules, authenticator=self.authenticator, tls=tls is not None, throttle=throttle
        )
        ResolverServicer(hot=self.hot, watching=resolver).add_to(self.guard)
        self.server = GrpcServer(
            settings=settings or GrpcSettings(address="127.0.0.1:0"),
            guard=self.guard,
            services=[SERVICE],
            tls=tls,
        )
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[grpc.aio.Channel]:
        self.port = await self.server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            yield channel
        await self.server.stop(0.1)


class OneCallOnly:
    """A throttle that admits one call."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def admit(self, address: str) -> None:
        self.seen.append(address)
        if len(self.seen) > 1:
            raise RateLimitError("resolver.door.undeclared", field="rate", retry_after=2.5)


def a_certificate() -> tuple[bytes, bytes]:
    """Return key and self-signed certificate for `localhost`, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, certificate.public_bytes(pem)


def ask(identifier: str, **options: Any) -> bytes:
    data: bytes = pb.ResolveRequest(identifier=identifier, **options).SerializeToString()
    return data


__all__ = [
    "ANYONE",
    "A_PROOF",
    "EDITOR",
    "Doors",
    "FakeAuthenticator",
    "FakeResolver",
    "OneCallOnly",
    "StillClock",
    "a_certificate",
    "a_record",
    "a_withdrawn_record",
    "ask",
]
