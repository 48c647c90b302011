"""The whole node in one process: what it mounts, who may enter where, what it says of itself."""

import pytest

from node.guard import flat
from registry.principal import OPERATIONS, Role
from registry.record import Draft
from resolver.answer import Outcome, Query
from tests.support.node import Prefix, a_node, an_admin, basic, living, talking_to

TOP = Prefix("88")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    made = a_node(tmp_path_factory.mktemp("node"))
    yield made
    made.close()


def doors(node):
    return [(method, route.path) for route in flat(node.app.router.routes) for method in route.methods or ()]


def test_every_mounted_route_has_a_rule(node):
    assert node.guard.undeclared(flat(node.app.router.routes)) == []


def test_every_rule_belongs_to_a_mounted_route(node):
    assert {f"{method} {path}" for method, path in doors(node)} >= set(node.http_access)


def test_every_rpc_has_a_rule_and_every_rule_an_rpc(node):
    door = node.grpc_door(address="127.0.0.1:0", share_port=False, tls=None)
    assert door._guard.methods == set(node.rpc_access)


@pytest.mark.parametrize("role", [None, *Role])
async def test_every_role_is_denied_wherever_no_rule_lets_it_in(node, role, monkeypatch):
    who = an_admin(TOP, role=role) if role else None

    async def authenticate(credentials):
        from registry.principal import ANONYMOUS

        return who if credentials.authorization else ANONYMOUS

    monkeypatch.setattr(node.authenticator, "authenticate", authenticate)
    headers = {"authorization": "Bearer x"} if role else {}
    async with talking_to(node) as client:
        for door, rule in node.http_access.items():
            operation = rule.operation
            if operation is None or (role is not None and operation in OPERATIONS[role]):
                continue
            method, path = door.split(" ", 1)
            answer = await client.request(
                method, path.replace("{", "").replace(":path}", "").replace("}", ""), headers=headers
            )
            assert answer.status_code == (403 if role else 401), door


async def test_an_empty_node_is_alive_and_says_why_it_is_not_ready(tmp_path):
    node = a_node(tmp_path, root=None)
    async with living(node), talking_to(node) as client:
        assert (await client.get("/health/live")).json() == {"status": "alive"}
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        failing = [check for check in answer.json()["checks"] if not check["ok"]]
        assert [check["name"] for check in failing] == ["prefixes"]
        assert "hazlink join" in failing[0]["reason_zh"]


async def test_a_top_node_registers_resolves_and_tells_its_own_prefix(tmp_path):
    node = a_node(tmp_path)
    _, secret = node.accounts.add_system(an_admin(TOP), "300:0.NA/88", [Role.ADMIN])
    login = basic("300:0.NA/88", secret)
    async with living(node), talking_to(node) as client:
        assert (await client.get("/health/ready")).status_code == 200
        value = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.example"}}
        made = await client.put("/api/handles/88/TANK-1", json={"values": [value]}, headers=login)
        assert made.status_code == 201
        for _ in range(2):
            found = await client.get("/api/handles/88/tank-1")
            assert found.json()["values"][0]["data"]["value"] == "https://e.example"
            assert found.json()["handle"] == "88/tank-1"
        value["data"]["value"] = "https://f.example"
        await client.put("/api/handles/88/TANK-1?index=1", json={"values": [value]}, headers=login)
        assert "f.example" in (await client.get("/api/handles/88/tank-1")).text
        assert (await client.get("/api/site")).json()["site"]["servers"][0]["interfaces"][0][
            "protocol"
        ] == "HTTP"
        assert "hazlink_http_requests_total" in (await client.get("/metrics", headers=login)).text
        described = (await client.get("/openapi.json")).json()["paths"]
        assert {"/api/handles/{handle}", "/auth/token", "/resolver/v1/batch"} <= set(described)
        answer = await node.resolver.resolve(Query("0.NA/88"))
        assert answer.outcome is Outcome.FOUND


async def test_accounts_by_http_from_token_to_being_cut_off(tmp_path):
    node = a_node(tmp_path)
    chief = an_admin(TOP)
    node.accounts.add_person(chief, "chief@88", "a long secret", [Role.ADMIN])
    async with living(node), talking_to(node) as client:
        form = {"grant_type": "password", "username": "chief@88", "password": "a long secret"}
        given = (await client.post("/auth/token", data=form)).json()
        assert given["token_type"] == "Bearer"
        assert given["expires_in"] == 900
        admin = {"authorization": f"Bearer {given['access_token']}"}
        assert (await client.get("/auth/me", headers=admin)).json()["name"] == "chief@88"
        new = {"name": "erp@88", "kind": "system", "roles": ["editor"]}
        made = await client.post("/accounts", json=new, headers=admin)
        assert made.status_code == 201
        login = {"client_id": "erp@88", "client_secret": made.json()["secret"]}
        erp = (await client.post("/auth/token", json=login)).json()["access_token"]
        mine = {"authorization": f"Bearer {erp}"}
        assert (await client.get("/accounts?prefix=88", headers=mine)).status_code == 403
        listed = (await client.get("/accounts?prefix=88", headers=admin)).json()
        assert [account["name"] for account in listed] == ["chief@88", "erp@88"]
        off = await client.patch("/accounts/erp@88", json={"enabled": False}, headers=admin)
        assert off.json()["enabled"] is False
        assert (await client.get("/auth/me", headers=mine)).status_code == 401
        assert (await client.post("/auth/token", json=login)).status_code == 401
        renewed = await client.post("/accounts/erp@88", json={}, headers=admin)
        assert renewed.json()["secret"] != made.json()["secret"]
        last = await client.patch("/accounts/chief@88", json={"prefix": "88", "roles": []}, headers=admin)
        assert last.status_code == 409
        events = (await client.get("/accounts/events?prefix=88", headers=admin)).json()
        assert [event["action"] for event in events][:2] == ["secret", "disable"]
        change = {"old": "a long secret", "new": "a longer secret"}
        assert (await client.post("/auth/password", json=change, headers=admin)).status_code == 204
        assert (await client.get("/auth/me", headers=admin)).status_code == 401


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"username": 1, "password": "x"}', "application/json", 400),
        (b'{"username": "a@88"}', "application/json", 400),
        (b"grant_type=magic&username=a", "application/x-www-form-urlencoded", 422),
        (b"%ff=%ff", "application/x-www-form-urlencoded", 400),
        (b"a&b&c", "application/x-www-form-urlencoded", 400),
    ],
)
async def test_token_requests_that_cannot_be_read_are_refused(node, content, kind, status):
    async with talking_to(node) as client:
        answer = await client.post("/auth/token", content=content, headers={"content-type": kind})
    assert answer.status_code == status


async def test_people_of_a_hosted_prefix_reach_nothing_of_their_host(tmp_path):
    node = a_node(tmp_path)
    hosted = Prefix("88.1003")
    node.prefixes.host(an_admin(TOP), hosted)
    _, secret = node.accounts.add_system(an_admin(hosted), "300:0.NA/88.1003", [Role.ADMIN])
    node.registry.register(an_admin(TOP), Draft("88/PARK-1", fields={"URL": "https://park.example"}))
    login = basic("300:0.NA/88.1003", secret)
    async with living(node), talking_to(node) as client:
        assert (await client.get("/api/handles?prefix=88", headers=login)).status_code == 403
        assert (await client.get("/api/handles?prefix=88.1003", headers=login)).status_code == 200
        assert (await client.get("/accounts?prefix=88", headers=login)).status_code == 403
        assert (await client.delete("/api/handles/88/PARK-1", headers=login)).status_code == 403
        park = node.accounts.add_system(an_admin(TOP), "300:0.NA/88", [Role.ADMIN])[1]
        assert (
            await client.get("/accounts?prefix=88.1003", headers=basic("300:0.NA/88", park))
        ).status_code == 403


def test_no_page_that_loads_scripts_from_elsewhere_is_mounted(node):
    assert not {"/docs", "/redoc"} & {path for _, path in doors(node)}
