"""Every HTTP route and every RPC of a running node × every role: denied unless listed."""

import itertools
import json
from typing import Any

import grpc
import httpx
import pytest
from fastapi import APIRouter
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from node.app import Door, create_app
from node.guard import flat
from proto import registry_pb2
from registry.principal import Role
from registry.record import Draft
from registry.value import PRIVATE, Value
from resolver.servicer_guard import Guard as RpcGuard
from tests.support.node import an_admin
from tests.support.role_matrix import HTTP, RECORD, RPCS, Ask, Call
from tests.support.served import ANONYMOUS, ELSE, OWN, PARK, ROLES, Served, served

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"})
_NUMBERS = itertools.count(100)
_DENIED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
#: A refusal behind the door: what was shown to it, not who showed it, did not hold.
_WRONG_SECRET = "node.accounts.wrong"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with served(tmp_path_factory.mktemp("matrix")) as made:
        by = an_admin(OWN, ELSE, PARK, name="test@88")
        made.node.accounts.add_system(by, f"spare@{OWN}", [])
        values = (Value(1, "URL", b"https://plant.example/1"), Value(2, "NOTE", b"inside").seen_as(PRIVATE))
        made.node.registry.register(by, Draft(identifier=RECORD, values=values))
        yield made


def denied(answer: httpx.Response) -> bool:
    if answer.status_code == 401 and "problem" in answer.headers.get("content-type", ""):
        return answer.json()["code"] != _WRONG_SECRET
    return answer.status_code in (401, 403)


def asked(house: Served, row: Ask, role: str) -> httpx.Response:
    number = str(next(_NUMBERS))
    body: Any = row.content
    kind = row.kind
    if row.json is not None:
        body, kind = json.dumps(row.json).replace("{n}", number).encode(), "application/json"
    headers = house.header(role) | ({"content-type": kind} if kind else {})
    method = row.door.partition(" ")[0]
    return house.plain.request(method, row.path.replace("{n}", number), content=body, headers=headers)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("row", HTTP, ids=str)
def test_fault_24_a_route_lets_exactly_those_pass_who_are_listed(house, row, role):
    answer = asked(house, row, role)
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    assert denied(answer) is (role not in row.who), (answer.status_code, answer.text)
    if role not in row.who:
        assert answer.status_code == (401 if role == ANONYMOUS else 403)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("row", RPCS, ids=str)
def test_fault_24_an_rpc_lets_exactly_those_pass_who_are_listed(house, row, role):
    status = called(house, row, role)
    assert status not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    assert (status in _DENIED) is (role not in row.who), status
    if role not in row.who:
        expected = "UNAUTHENTICATED" if role == ANONYMOUS else "PERMISSION_DENIED"
        assert status is grpc.StatusCode[expected]


def called(house: Served, row: Call, role: str) -> grpc.StatusCode:
    """Make the call as a stream both ways, which on the wire is every kind of call; say how it began."""
    message = iter([row.request.SerializeToString()])
    call = house.plain_channel.stream_stream(row.door)(message, metadata=house.metadata(role), timeout=20)
    try:
        reply = next(call)
    except grpc.RpcError as error:
        status: grpc.StatusCode = error.code()
        return status
    finally:
        call.cancel()
    if row.door.endswith("/BatchRegister"):
        return verdict_on_lines(reply)
    return grpc.StatusCode.OK


def verdict_on_lines(reply: bytes) -> grpc.StatusCode:
    """Say how all lines of a batch ended; none may end otherwise than the others."""
    kinds = {line.error.kind for line in registry_pb2.BatchResult.FromString(reply).results}
    assert len(kinds) == 1
    return grpc.StatusCode.PERMISSION_DENIED if kinds == {"forbidden"} else grpc.StatusCode.OK


def doors_of(house: Served) -> set[str]:
    """Return every door there is over HTTP, from the running application."""
    return {
        f"{method} {route.path}"
        for route in flat(house.node.app.router.routes)
        for method in route.methods or ()
    }


def test_fault_24_every_route_of_the_running_application_stands_in_the_table(house):
    assert doors_of(house) == {row.door for row in HTTP}
    rules = house.node.http_access
    assert set(rules) <= doors_of(house)
    assert house.node.guard.undeclared(flat(house.node.app.router.routes)) == []


def test_fault_24_every_rpc_of_the_running_server_stands_in_the_table(house):
    assert served_rpcs(house) == {row.door for row in RPCS}
    assert set(house.node.rpc_access) == {row.door for row in RPCS}


def served_rpcs(house: Served) -> set[str]:
    """Return every RPC that the server itself says it has."""
    book = ProtoReflectionDescriptorDatabase(house.plain_channel)
    found = set()
    for service in book.get_services():
        described = book.FindFileContainingSymbol(service)
        for one in described.service:
            if f"{described.package}.{one.name}" == service:
                found |= {f"/{service}/{method.name}" for method in one.method}
    return found


def test_fault_24_no_path_takes_a_method_that_is_not_listed_not_even_of_an_admin(house):
    routes = flat(house.node.app.router.routes)
    paths = sorted({row.path.partition("?")[0].replace("{n}", "1") for row in HTTP})
    for path in paths:
        there = {m for route in routes if route.path_regex.match(path) for m in route.methods or ()}
        for method in sorted(_METHODS - there):
            answer = house.plain.request(method, path, headers=house.header("admin"))
            assert answer.status_code == 405, (method, path)
            assert answer.headers["allow"], (method, path)


@pytest.mark.parametrize("role", ROLES)
def test_fault_24_a_path_or_method_nobody_knows_is_answered_by_nobody(house, role):
    for path in (
        "/",
        "/admin",
        "/docs",
        "/redoc",
        "/api",
        "/openapi.yaml",
        "/api/handles2",
        "/metrics/",
        "/../etc",
    ):
        assert house.plain.get(path, headers=house.header(role)).status_code == 404, path
    with pytest.raises(grpc.RpcError) as refused:
        house.plain_channel.unary_unary("/hazlink.registry.v1.Registry/Drop")(
            b"", metadata=house.metadata(role)
        )
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def ask_application(app: Any, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://node.test") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize("role", ROLES)
def test_fault_24_a_route_without_a_rule_is_denied_to_everybody(house, role):
    reached: list[str] = []
    router = APIRouter()

    @router.api_route("/forgotten/{name:path}", methods=["GET", "POST", "DELETE"])
    async def forgotten(name: str) -> dict[str, str]:
        reached.append(name)
        return {}

    app = create_app(house.node, doors=[Door(router, {})], guard=house.node.guard)
    for method in ("GET", "POST", "DELETE", "HEAD"):
        answer = house.run(ask_application(app, method, "/forgotten/x", house.header(role)))
        assert answer.status_code == (405 if method == "HEAD" else 403), method
        if method != "HEAD":
            assert answer.json()["code"] == "node.guard.undeclared"
    assert not reached
    assert "GET /forgotten/{name:path}" in house.node.guard.undeclared(flat(app.router.routes))


@pytest.mark.parametrize("role", ROLES)
def test_fault_24_an_rpc_without_a_rule_is_denied_to_everybody(house, role):
    reached: list[bytes] = []

    async def forgotten(request: bytes, _context: Any) -> bytes:
        reached.append(request)
        return b""

    async def try_it() -> grpc.StatusCode:
        guard = RpcGuard(access=house.node.rpc_access, authenticator=house.node.authenticator, tls=False)
        handlers = {"Call": grpc.unary_unary_rpc_method_handler(forgotten)}
        guard.add_registered_method_handlers("hazlink.test.Forgotten", handlers)
        server = grpc.aio.server(handlers=(guard,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await channel.unary_unary("/hazlink.test.Forgotten/Call")(b"", metadata=house.metadata(role))
        except grpc.aio.AioRpcError as error:
            return error.code()
        finally:
            await server.stop(0)
        return grpc.StatusCode.OK

    assert house.run(try_it()) is grpc.StatusCode.PERMISSION_DENIED
    assert not reached


def test_a_role_that_is_taken_away_ends_at_once_and_a_disabled_account_too(house):
    node, by = house.node, an_admin(OWN, name="test@88")
    account, _ = node.accounts.add_system(by, f"passing@{OWN}", [Role.EDITOR])
    header = {"authorization": f"Bearer {node.authenticator.issue(account)[0]}"}
    assert house.plain.get("/auth/me", headers=header).status_code == 200
    by_admin = {"json": {"enabled": False}, "headers": house.header("admin")}
    assert house.plain.patch(f"/accounts/passing@{OWN}", **by_admin).status_code == 200
    for path in ("/auth/me", "/health/live", f"/api/handles/{RECORD}"):
        assert house.plain.get(path, headers=header).status_code == 401, path
