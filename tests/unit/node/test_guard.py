import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request

from node import problems
from node.guard import Guard, flat, merged
from node.limits import Limiter, MemoryBuckets
from registry.access import ANYONE, Credentials, needs
from registry.errors import InternalError, UnauthenticatedError
from registry.principal import ANONYMOUS, OPERATIONS, Operation, Role
from tests.support.node import PARK, TestClock, an_admin

OPERATION_DOORS = {f"POST /{operation.value}": needs(operation) for operation in Operation}


class Named:
    """Takes `Bearer <role>` for somebody of that role, and keeps what it was shown."""

    def __init__(self):
        self.seen: list[Credentials] = []

    async def authenticate(self, credentials):
        self.seen.append(credentials)
        if credentials.authorization is None:
            return ANONYMOUS
        if credentials.authorization == "Bearer wrong":
            raise UnauthenticatedError("node.accounts.wrong")
        return an_admin(PARK, role=Role(credentials.authorization.removeprefix("Bearer ")))


class House:
    def __init__(self, access, *, proxied=False, limiter=None, address="127.0.0.1"):
        self.authenticator = Named()
        self.settled = 0
        self.reached: list[str] = []
        app = FastAPI()
        router = APIRouter()
        for door in access:
            method, path = door.split(" ", 1)
            router.add_api_route(path, self.answer, methods=[method])
        router.add_api_route("/undeclared", self.answer, methods=["GET"])
        app.router.routes.extend(flat(router.routes))

        async def settle():
            self.settled += 1

        self.guard = Guard(
            access=access,
            authenticator=self.authenticator,
            limiter=limiter or Limiter(addresses=None, principals=None),
            settle=settle,
            proxied=proxied,
        )
        self.routes = flat(app.router.routes)
        self.guard.protect(self.routes)
        problems.install(app)
        transport = httpx.ASGITransport(app=app, client=(address, 1))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://node.test")

    async def answer(self, request: Request):
        self.reached.append(request.state.principal.name)
        return {}


async def test_what_is_not_declared_is_denied_to_everybody_even_the_administrator():
    house = House({})
    for headers in ({}, {"authorization": "Bearer admin"}):
        answer = await house.client.get("/undeclared", headers=headers)
        assert answer.status_code == 403
        assert answer.json()["code"] == "node.guard.undeclared"
    assert not house.reached
    assert "GET /undeclared" in house.guard.undeclared(house.routes)


@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("operation", list(Operation))
async def test_every_role_passes_exactly_where_it_may(role, operation):
    house = House(OPERATION_DOORS)
    headers = {"authorization": f"Bearer {role}"} if role else {}
    answer = await house.client.post(f"/{operation.value}", headers=headers)
    may = role is not None and operation in OPERATIONS[role]
    assert answer.status_code == (200 if may else 403 if role else 401)
    assert bool(house.reached) is may


async def test_wrong_credentials_are_refused_even_where_anyone_may_pass():
    house = House({"GET /open": ANYONE})
    answer = await house.client.get("/open", headers={"authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]
    assert (await house.client.get("/open")).status_code == 200
    assert house.reached == ["anonymous"]


async def test_the_body_of_a_stranger_is_never_parsed():
    house = House(OPERATION_DOORS)
    answer = await house.client.post(
        "/record.write", content=b"{", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 401


async def test_two_credentials_are_refused():
    house = House({"GET /open": ANYONE})
    headers = [("authorization", "Bearer reader"), ("authorization", "Bearer admin")]
    assert (await house.client.get("/open", headers=headers)).status_code == 400


@pytest.mark.parametrize(
    ("address", "headers", "proxied", "secure"),
    [
        ("127.0.0.1", {}, False, True),
        ("::1", {}, False, True),
        ("192.0.2.1", {}, False, False),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}, False, False),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}, False, False),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}, True, True),
    ],
)
async def test_a_connection_is_secure_only_when_nobody_else_can_listen(address, headers, proxied, secure):
    house = House({"GET /open": ANYONE}, proxied=proxied, address=address)
    await house.client.get("/open", headers={"authorization": "Bearer reader", **headers})
    assert house.authenticator.seen[0].secure is secure


async def test_https_is_secure_from_anywhere():
    house = House({"GET /open": ANYONE}, address="192.0.2.1")
    await house.client.get("https://node.test/open", headers={"authorization": "Bearer reader"})
    assert house.authenticator.seen[0].secure


async def test_a_write_is_answered_once_this_process_knows_it():
    house = House(OPERATION_DOORS)
    admin = {"authorization": "Bearer admin"}
    await house.client.post("/record.read", headers=admin)
    assert house.settled == 0
    await house.client.post("/record.write", headers=admin)
    await house.client.post("/prefix.delegate", headers=admin)
    assert house.settled == 2


async def test_a_login_that_asks_too_often_waits():
    buckets = MemoryBuckets(per_second=1, burst=1, clock=TestClock())
    house = House({"GET /open": ANYONE}, limiter=Limiter(addresses=None, principals=buckets))
    reader = {"authorization": "Bearer reader"}
    answers = [(await house.client.get("/open", headers=reader)).status_code for _ in range(2)]
    assert answers == [200, 429]
    assert (await house.client.get("/open")).status_code == 200


def test_two_rooms_may_not_disagree_about_a_door():
    with pytest.raises(InternalError):
        merged([{"GET /a": ANYONE}, {"GET /a": needs(Operation.SESSION)}])
    assert merged([{"GET /a": ANYONE}, {"GET /a": ANYONE}]) == {"GET /a": ANYONE}


def test_what_could_answer_outside_the_guard_is_not_mounted():
    app = FastAPI()
    app.mount("/static", FastAPI())
    with pytest.raises(InternalError, match="guard"):
        flat(app.router.routes)
