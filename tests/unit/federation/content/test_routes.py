"""The doors of what is exchanged and of escrow, as their people use them."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from federation.content import routes as content_routes
from federation.content.access import ACCESS as CONTENT_ACCESS
from federation.content.dataset import load_datasets
from federation.content.own import OwnEntries
from federation.content.received import Received
from federation.escrow import routes as escrow_routes
from federation.escrow.access import ACCESS as ESCROW_ACCESS
from federation.escrow.keys import EscrowKeys
from federation.escrow.takeover import Takeovers
from node import problems
from registry.principal import ANONYMOUS
from tests.support.content import arrive, everything, registrations, two_tiers
from tests.support.prefixes import MovedClock, admin_of


@pytest.fixture
def tiers(tmp_path):
    return two_tiers(tmp_path, MovedClock())


@pytest.fixture
def app(tiers, tmp_path):
    def of(node):
        made = FastAPI()
        problems.install(made)
        made.state.who = ANONYMOUS
        made.state.node = SimpleNamespace(
            received=Received(database=node.database, datasets=load_datasets()),
            own_entries=OwnEntries(
                database=node.database, datasets=load_datasets(), homes=node.homes, clock=node.clock
            ),
            takeovers=Takeovers(
                database=node.database,
                homes=node.homes,
                anchored=node.prefixes,
                records=node.registry,
                keys=EscrowKeys(tmp_path / "escrow"),
                clock=node.clock,
            ),
            executor=ThreadPoolExecutor(2),
        )
        made.include_router(content_routes.make_router())
        made.include_router(escrow_routes.make_router())

        @made.middleware("http")
        async def somebody(request, call_next):
            request.state.principal = made.state.who
            return await call_next(request)

        return made

    return of


async def ask(app, method, path, **other):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://n") as client:
        return await client.request(method, path, **other)


def test_every_route_says_what_it_needs(app, tiers):
    paths = app(tiers[0]).openapi()["paths"]
    made = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert made == set(CONTENT_ACCESS) | set(ESCROW_ACCESS)


async def test_what_arrived_is_listed_page_by_page(app, tiers):
    top, park = tiers
    for number in range(3):
        park.register(f"88.107/B-{number}")
    arrive(top.database, everything(park, registrations(park, "t9=real-time")))
    door = app(top)
    refused = await ask(door, "GET", "/exchange-entries/t9?prefix=88")
    assert refused.status_code == 401
    door.state.who = admin_of("88")
    assert (await ask(door, "GET", "/exchange-entries?prefix=88")).json()["datasets"] == {"t9": 3}
    found, after = [], ""
    while after is not None:
        query = {"prefix": "88", "limit": "2", "after": after, "owner": "88.107"}
        page = (await ask(door, "GET", "/exchange-entries/t9", params=query)).json()
        found += [entry["key"] for entry in page["entries"]]
        after = page["next"]
    assert found == [f"88.107/B-{number}" for number in range(3)]
    for wrong in ("prefix=88&after=x", "prefix=88..1", "prefix=88&limit=0"):
        assert (await ask(door, "GET", f"/exchange-entries/t9?{wrong}")).status_code in {400, 413}
    assert (await ask(door, "GET", "/exchange-entries/t12?prefix=88")).status_code == 404


async def test_people_enter_and_take_back(app, tiers):
    door = app(tiers[1])
    door.state.who = admin_of("88.107")
    path = "/exchange-entries/t1/own?prefix=88.107"
    entered = await ask(door, "PUT", path, json={"prefix": "88.107", "verified": True})
    assert (entered.status_code, entered.json()["who"]) == (200, "admin@88.107")
    assert len((await ask(door, "GET", path)).json()["entries"]) == 1
    assert (await ask(door, "DELETE", f"{path}&key=88.107")).status_code == 204
    assert (await ask(door, "DELETE", f"{path}&key=88.107")).status_code == 404
    for body, status in ((b"[]", 400), (b"{", 400), (b"x" * 50_000, 413), (b'{"prefix":"88.1"}', 422)):
        assert (await ask(door, "PUT", path, content=body)).status_code == status


async def test_escrow_is_for_those_who_delegate(app, tiers):
    door = app(tiers[0])
    asked = [
        ("GET", "/escrow/held?prefix=88"),
        ("GET", "/escrow/made?prefix=88"),
        ("GET", "/escrow/takeovers?prefix=88"),
        ("POST", "/escrow/88.107/check"),
        ("DELETE", "/escrow/88.107/takeover"),
    ]
    for who, status in ((ANONYMOUS, 401), (admin_of("88.107"), 403)):
        door.state.who = who
        for method, path in asked:
            assert (await ask(door, method, path)).status_code == status, path
        assert (
            await ask(door, "POST", "/escrow/88.107/takeover", json={"reason": "x"})
        ).status_code == status
    door.state.who = admin_of("88")
    assert (await ask(door, "GET", "/escrow/held?prefix=88")).json() == {"deposits": []}
    assert (await ask(door, "GET", "/escrow/made?prefix=88")).json() == {"deposits": []}
    assert (await ask(door, "GET", "/escrow/made?prefix=88&limit=0")).status_code == 413
    assert (await ask(door, "GET", "/escrow/takeovers?prefix=88")).json() == {"takeovers": []}
    assert (await ask(door, "POST", "/escrow/88.107/check")).status_code == 404
    for body, status in ((b"[]", 400), (b'{"reason":5}', 400), (b"x" * 9000, 413), (b'{"reason":""}', 400)):
        assert (await ask(door, "POST", "/escrow/88.107/takeover", content=body)).status_code == status
