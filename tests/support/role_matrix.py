"""Who may pass which door, written by hand: every HTTP route and every RPC stands here, or its test fails.

A row names the door, who may pass it, and a request that would succeed for them; several rows for one door tell what
counts beyond the door itself, such as the prefix at hand. `{n}` in a request becomes another number each time.
"""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from proto import registry_pb2, resolver_pb2
from tests.support.served import ANONYMOUS, NODE, ROLES

__all__ = ["HTTP", "RPCS", "Ask", "Call"]

ALL = frozenset(ROLES)
KNOWN = ALL - {ANONYMOUS}
READERS = frozenset({"reader", "editor", "auditor", "operator", "admin"})
WRITERS = frozenset({"editor", "operator", "admin"})
AUDITORS = frozenset({"auditor", "operator", "admin"})
DELEGATORS = frozenset({"operator", "admin"})
ADMIN = frozenset({"admin"})
#: Whose role at another prefix opens a door at which no prefix is at hand.
OTHERS = frozenset({"admin elsewhere", "admin above"})
ABOVE = frozenset({"admin above"})

#: Another node, which proved itself by its chain.
PEERS = frozenset({NODE})

OWN = "88.107.1001"
RECORD = f"{OWN}/PUMP-1"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request over HTTP and who may make it."""

    door: str
    who: frozenset[str]
    path: str
    json: Any = None
    content: bytes | None = None
    kind: str | None = None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.door} {self.note}".strip()


@dataclass(frozen=True, slots=True)
class Call:
    """An RPC and who may make it."""

    door: str
    who: frozenset[str]
    request: Message
    note: str = ""

    def __str__(self) -> str:
        return f"{self.door} {self.note}".strip()


_VALUE = [{"index": 1, "type": "URL", "data": {"format": "string", "value": "https://plant.example/{n}"}}]
_SYSTEM = {"name": "new-{n}@88.107.1001", "kind": "system", "roles": ["reader"]}
_BATCH = resolver_pb2.BatchResolveRequest(identifiers=[RECORD]).SerializeToString()
_LINES, _OCTETS, _JOSE = "application/x-ndjson", "application/octet-stream", "application/jose"
_LOGIN = {"username": "spare@88.107.1001", "password": "wrong"}

HTTP: tuple[Ask, ...] = (
    Ask("GET /api/handles", READERS, f"/api/handles?prefix={OWN}"),
    Ask("GET /api/handles", ABOVE, "/api/handles?prefix=88.107", note="of the park"),
    Ask("HEAD /api/handles", READERS, f"/api/handles?prefix={OWN}"),
    Ask("OPTIONS /api/handles", ALL, "/api/handles"),
    Ask("GET /api/handles/{handle:path}", ALL, f"/api/handles/{RECORD}"),
    Ask("GET /api/handles/{handle:path}", READERS, f"/api/handles/?prefix={OWN}", note="as a list"),
    Ask(
        "GET /api/handles/{handle:path}", READERS, f"/api/handles/{RECORD}?publicOnly=false", note="insisting"
    ),
    Ask("HEAD /api/handles/{handle:path}", ALL, f"/api/handles/{RECORD}"),
    Ask("HEAD /api/handles/{handle:path}", READERS, f"/api/handles/?prefix={OWN}", note="as a list"),
    Ask("POST /api/handles/{handle:path}", ALL, f"/api/handles/{RECORD}", json={}),
    Ask(
        "POST /api/handles/{handle:path}",
        READERS,
        f"/api/handles/{RECORD}",
        json={"publicOnly": False},
        note="insisting",
    ),
    Ask("OPTIONS /api/handles/{handle:path}", ALL, f"/api/handles/{RECORD}"),
    Ask("PUT /api/handles/{handle:path}", WRITERS, f"/api/handles/{OWN}/NEW-{{n}}", json=_VALUE),
    Ask(
        "PUT /api/handles/{handle:path}",
        WRITERS,
        f"/api/handles/{RECORD}?index=various",
        json=_VALUE,
        note="one value",
    ),
    Ask(
        "PUT /api/handles/{handle:path}",
        ABOVE,
        "/api/handles/0.NA/88.107.77{n}",
        json=_VALUE,
        note="a delegation of the park",
    ),
    Ask(
        "PUT /api/handles/{handle:path}",
        DELEGATORS,
        f"/api/handles/0.NA/{OWN}.77{{n}}",
        json=_VALUE,
        note="a delegation",
    ),
    Ask("DELETE /api/handles/{handle:path}", WRITERS, f"/api/handles/{OWN}/NONE-{{n}}"),
    Ask("DELETE /api/handles/{handle:path}", WRITERS, f"/api/handles/{RECORD}?index=77", note="one value"),
    Ask("GET /api/prefixes", READERS | OTHERS, "/api/prefixes"),
    Ask("POST /api/prefixes/{prefix:path}", DELEGATORS, f"/api/prefixes/{OWN}.{{n}}"),
    Ask("POST /api/prefixes/{prefix:path}", ABOVE, "/api/prefixes/88.107.2{n}", note="below the park"),
    Ask(
        "DELETE /api/prefixes/{prefix:path}", DELEGATORS | OTHERS, f"/api/prefixes/{OWN}.9", note="never done"
    ),
    Ask("GET /api/site", ALL, "/api/site"),
    Ask("POST /api/sessions", ALL, "/api/sessions", note="never done"),
    Ask("GET /api/sessions/this", ALL, "/api/sessions/this", note="never done"),
    Ask("PUT /api/sessions/this", ALL, "/api/sessions/this", note="never done"),
    Ask("DELETE /api/sessions/this", ALL, "/api/sessions/this", note="never done"),
    Ask(
        "GET /api/verifications/{reference:path}",
        ALL,
        f"/api/verifications/300:0.NA/{OWN}",
        note="never done",
    ),
    Ask("GET /hrls/ping", ALL, "/hrls/ping"),
    Ask("GET /hrls/handles", READERS | OTHERS, "/hrls/handles?URL=*", note="in one's own prefixes"),
    Ask("GET /hrls/handles/{prefix:path}", READERS, f"/hrls/handles/{OWN}?URL=*"),
    Ask("GET /id/{identifier:path}", ALL, f"/id/{RECORD}"),
    Ask("HEAD /id/{identifier:path}", ALL, f"/id/{RECORD}"),
    Ask("OPTIONS /id/{identifier:path}", ALL, f"/id/{RECORD}"),
    Ask("POST /resolver/v1/batch", ALL, "/resolver/v1/batch", content=_BATCH, kind="application/x-protobuf"),
    Ask("POST /federation/v1/challenge", ALL, "/federation/v1/challenge"),
    Ask("POST /federation/v1/join", ALL, "/federation/v1/join", json={}),
    Ask("GET /federation/v1/join/{ticket}", ALL, "/federation/v1/join/unknown"),
    Ask("POST /federation/v1/renew", ALL, "/federation/v1/renew", json={}),
    Ask("GET /federation/v1/delegations/{prefix}", ALL, f"/federation/v1/delegations/{OWN}"),
    Ask("POST /exchange/session", ALL, "/exchange/session", json={}, note="showing nothing"),
    Ask("POST /exchange/receipts", PEERS, "/exchange/receipts", content=b"x", kind=_LINES),
    Ask("POST /exchange/heads", PEERS, "/exchange/heads", content=b"", kind=_LINES),
    Ask("POST /exchange/epochs", PEERS, "/exchange/epochs", json={}),
    Ask("POST /exchange/proofs", PEERS, "/exchange/proofs", json={"envs": []}),
    Ask("PUT /exchange/bodies/{sha256}", PEERS, f"/exchange/bodies/{'A' * 43}", content=b"x", kind=_OCTETS),
    Ask("GET /exchange/bodies/{sha256}", PEERS, f"/exchange/bodies/{'A' * 43}"),
    Ask("POST /exchange/{stream}", PEERS, "/exchange/register", content=b"x", kind=_LINES),
    Ask("GET /exchange/{stream}", PEERS, "/exchange/control?after=0/0&wait=0"),
    Ask("GET /exchange/{stream}/sent", PEERS, "/exchange/register/sent?epoch=1&after=0"),
    Ask("POST /exchange/{stream}/{epoch}/{seq}", PEERS, "/exchange/register/1/1", content=b"x", kind=_JOSE),
    Ask("GET /log/checkpoint", ALL, "/log/checkpoint"),
    Ask("GET /log/tile/{level}/{path:path}", ALL, "/log/tile/0/000.p/1"),
    Ask(
        "GET /log/tile/entries/{path:path}", frozenset(), "/log/tile/entries/000.p/1", note="of the top's log"
    ),
    Ask("POST /log/cosignatures", KNOWN, "/log/cosignatures", content=b"x", kind=_OCTETS),
    Ask("GET /proof/{env}", ALL, f"/proof/{'A' * 43}"),
    Ask("POST /witness/add-checkpoint", ALL, "/witness/add-checkpoint", content=b"x", kind=_OCTETS),
    Ask("GET /witness/{digest}/checkpoint", ALL, f"/witness/{'0' * 64}/checkpoint"),
    Ask(
        "POST /witness/{digest}/entries",
        KNOWN,
        f"/witness/{'0' * 64}/entries?from=0",
        content=b"",
        kind=_OCTETS,
    ),
    Ask("GET /witness/{digest}/entries", KNOWN, f"/witness/{'0' * 64}/entries?from=0"),
    Ask("GET /exchange-entries", READERS, f"/exchange-entries?prefix={OWN}"),
    Ask("GET /exchange-entries/{dataset}", READERS, f"/exchange-entries/t9?prefix={OWN}"),
    Ask("GET /exchange-entries/{dataset}", ABOVE, "/exchange-entries/t9?prefix=88.107", note="of the park"),
    Ask("GET /exchange-entries/{dataset}/own", READERS, f"/exchange-entries/t5/own?prefix={OWN}"),
    Ask("PUT /exchange-entries/{dataset}/own", WRITERS, f"/exchange-entries/t5/own?prefix={OWN}", json={}),
    Ask("DELETE /exchange-entries/{dataset}/own", WRITERS, f"/exchange-entries/t5/own?prefix={OWN}&key=x"),
    Ask("GET /queries", AUDITORS, f"/queries?prefix={OWN}"),
    Ask("POST /queries", AUDITORS, "/queries", json={"asker": OWN, "targets": [OWN], "purpose": "a test"}),
    Ask("GET /queries/received", READERS, f"/queries/received?prefix={OWN}"),
    Ask("GET /queries/{query}", AUDITORS | OTHERS, "/queries/none", note="nobody's"),
    Ask("GET /escrow/held", DELEGATORS, f"/escrow/held?prefix={OWN}"),
    Ask("GET /escrow/made", AUDITORS, f"/escrow/made?prefix={OWN}"),
    Ask("GET /escrow/takeovers", AUDITORS, f"/escrow/takeovers?prefix={OWN}"),
    Ask("POST /escrow/{prefix}/check", DELEGATORS, f"/escrow/{OWN}.9/check"),
    Ask("POST /escrow/{prefix}/takeover", DELEGATORS, f"/escrow/{OWN}.9/takeover", json={"reason": "gone"}),
    Ask("DELETE /escrow/{prefix}/takeover", DELEGATORS, f"/escrow/{OWN}.9/takeover"),
    Ask("POST /auth/token", ALL, "/auth/token", json=_LOGIN),
    Ask("GET /auth/me", KNOWN, "/auth/me"),
    Ask("POST /auth/password", KNOWN, "/auth/password", json={"old": "x", "new": "y"}),
    Ask("GET /accounts", ADMIN, f"/accounts?prefix={OWN}"),
    Ask("GET /accounts", ABOVE, "/accounts?prefix=88.107", note="of the park"),
    Ask("GET /accounts/events", ADMIN, f"/accounts/events?prefix={OWN}"),
    Ask("POST /accounts", ADMIN, "/accounts", json=_SYSTEM),
    Ask("PATCH /accounts/{name:path}", ADMIN, f"/accounts/spare@{OWN}", json={"enabled": True}),
    Ask(
        "PATCH /accounts/{name:path}",
        ADMIN,
        f"/accounts/spare@{OWN}",
        json={"prefix": OWN, "roles": ["reader"]},
        note="roles",
    ),
    Ask("POST /accounts/{name:path}", ADMIN, f"/accounts/spare@{OWN}", json={}),
    Ask("GET /health/live", ALL, "/health/live"),
    Ask("GET /health/ready", ALL, "/health/ready"),
    Ask("GET /metrics", AUDITORS | OTHERS, "/metrics"),
    Ask("GET /openapi.json", ALL, "/openapi.json"),
    Ask("HEAD /openapi.json", ALL, "/openapi.json"),
)

_RESOLVER, _REGISTRY = "/hazlink.resolver.v1.Resolver/", "/hazlink.registry.v1.Registry/"
_HEALTH = "/grpc.health.v1.Health/"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
_URL = resolver_pb2.Value(index=1, type="URL", data=b"https://plant.example")


def _draft(identifier: str) -> registry_pb2.Draft:
    return registry_pb2.Draft(identifier=identifier, values=[_URL])


RPCS: tuple[Call, ...] = (
    Call(f"{_RESOLVER}Resolve", ALL, resolver_pb2.ResolveRequest(identifier=RECORD)),
    Call(f"{_RESOLVER}BatchResolve", ALL, resolver_pb2.BatchResolveRequest(identifiers=[RECORD])),
    Call(f"{_RESOLVER}StreamResolve", ALL, resolver_pb2.ResolveRequest(identifier=RECORD)),
    Call(f"{_RESOLVER}Watch", ALL, resolver_pb2.WatchRequest(identifiers=[RECORD], after=1)),
    Call(f"{_RESOLVER}Watch", READERS, resolver_pb2.WatchRequest(prefix=OWN, after=1), note="a prefix"),
    Call(
        f"{_RESOLVER}Watch",
        READERS,
        resolver_pb2.WatchRequest(identifiers=[RECORD], prefix=OWN, after=1),
        note="a prefix and a name",
    ),
    Call(f"{_REGISTRY}Register", WRITERS, registry_pb2.RegisterRequest(draft=_draft(f"{OWN}/RPC-1"))),
    Call(
        f"{_REGISTRY}Register",
        DELEGATORS,
        registry_pb2.RegisterRequest(draft=_draft(f"0.NA/{OWN}.88")),
        note="a delegation",
    ),
    Call(
        f"{_REGISTRY}Register",
        ABOVE,
        registry_pb2.RegisterRequest(draft=_draft("88.107/RPC-1")),
        note="of the park",
    ),
    Call(
        f"{_REGISTRY}BatchRegister",
        WRITERS,
        registry_pb2.BatchRegisterRequest(drafts=[_draft(f"{OWN}/RPC-2")]),
    ),
    Call(f"{_REGISTRY}SetValues", WRITERS, registry_pb2.SetValuesRequest(identifier=RECORD, values=[_URL])),
    Call(
        f"{_REGISTRY}RemoveValues", WRITERS, registry_pb2.RemoveValuesRequest(identifier=RECORD, indexes=[77])
    ),
    Call(
        f"{_REGISTRY}Withdraw", WRITERS, registry_pb2.WithdrawRequest(identifier=f"{OWN}/NONE", reason="gone")
    ),
    Call(
        f"{_REGISTRY}Delete", WRITERS, registry_pb2.WithdrawRequest(identifier=f"{OWN}/NONE", reason="gone")
    ),
    Call(f"{_REGISTRY}List", READERS, registry_pb2.ListRequest(prefix=OWN)),
    Call(f"{_REGISTRY}Search", READERS, registry_pb2.SearchRequest(prefix=OWN, patterns={"URL": "*"})),
    Call(
        f"{_REGISTRY}Search",
        READERS | OTHERS,
        registry_pb2.SearchRequest(patterns={"URL": "*"}),
        note="in one's own prefixes",
    ),
    Call(f"{_REGISTRY}History", AUDITORS, registry_pb2.HistoryRequest(identifier=RECORD)),
    Call(f"{_HEALTH}Check", ALL, health_pb2.HealthCheckRequest()),
    Call(f"{_HEALTH}Watch", ALL, health_pb2.HealthCheckRequest()),
    Call(f"{_HEALTH}List", ALL, health_pb2.HealthListRequest()),
    Call(_REFLECTION, ALL, reflection_pb2.ServerReflectionRequest(list_services="")),
)

#: Another node has no rights of its own here: what it may read is public, or open to the federation; and it exchanges.
assert not any(NODE in row.who for row in (*HTTP, *RPCS) if row.who not in (ALL, KNOWN, PEERS))
