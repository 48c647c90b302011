"""Joining over HTTP: real nodes, real routes, the network replaced by ASGI; what is not planned is refused."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request, Response

from federation.membership.access import ACCESS
from federation.membership.client import HttpsSuperiors
from federation.membership.forms import from_standing, to_standing
from federation.membership.routes import MAX_REQUEST_BYTES, make_router
from federation.membership.service import Membership
from registry.delegation import Contact, HomeState, Purpose
from registry.errors import (
    HTTP_STATUS,
    ForbiddenError,
    HazlinkError,
    MalformedError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.invitations import InvitationLetter
from registry.prefixes.service import Prefixes
from registry.trust.historical import read_history
from registry.trust.statement import read
from tests.support.exchange_healing import restored, whole_picture
from tests.support.prefixes import (
    DAY,
    MovedClock,
    TestNode,
    a_node,
    a_top,
    admin_of,
    invited,
    joined,
    operator_of,
)

P = Prefix.parse
WHO = Contact(name="示例化工有限公司", contact="13000000000")


@dataclass
class ServedNode:
    """What the routes look for at `app.state.node`."""

    prefixes: Prefixes
    executor: Executor


@dataclass
class Network:
    """Nodes that reach each other by name; a host that is down, or lies, is set so here."""

    executor: Executor
    apps: dict[str, FastAPI] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    pins: list[str | None] = field(default_factory=list)
    lost_answers: int = 0

    def add(self, node: TestNode) -> None:
        app = FastAPI()
        app.include_router(make_router())
        app.add_exception_handler(HazlinkError, _problem)
        app.state.node = ServedNode(node.prefixes, self.executor)
        self.apps[f"{node.name}.example"] = app

    def connect(self, pin: str | None) -> httpx.AsyncClient:
        self.pins.append(pin)
        return httpx.AsyncClient(transport=_Wire(self))

    def membership(self, node: TestNode) -> Membership:
        return Membership(
            prefixes=node.prefixes,
            superiors=HttpsSuperiors(connect=self.connect),
            clock=node.clock,
            executor=self.executor,
        )


class _Wire(httpx.AsyncBaseTransport):
    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host in self._network.down or host not in self._network.apps:
            raise httpx.ConnectError(f"{host} is down")
        answer = await httpx.ASGITransport(self._network.apps[host]).handle_async_request(request)
        if self._network.lost_answers:
            self._network.lost_answers -= 1
            raise httpx.ReadError("the answer was lost")
        return answer


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HazlinkError)
    body = {
        "type": f"urn:hazlink:problem:{error.kind.value}",
        "detail": error.message("en"),
        "detail_en": error.message("en"),
        "detail_zh": error.message("zh"),
        "field": error.field,
        "code": error.code,
    }
    return Response(orjson.dumps(body), HTTP_STATUS[error.kind], media_type="application/problem+json")


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def network() -> Iterator[Network]:
    with ThreadPoolExecutor(2) as executor:
        yield Network(executor)


@pytest.fixture
def top(tmp_path: Path, clock: MovedClock, network: Network) -> TestNode:
    node = a_top(tmp_path, clock)
    network.add(node)
    return node


@pytest.fixture
def park(tmp_path: Path, clock: MovedClock, network: Network) -> TestNode:
    node = a_node(tmp_path, "park", clock)
    network.add(node)
    return node


@pytest.fixture
def plant(tmp_path: Path, clock: MovedClock, network: Network) -> TestNode:
    node = a_node(tmp_path, "plant", clock)
    network.add(node)
    return node


def asking(guest: TestNode, letter: InvitationLetter) -> dict[str, Any]:
    return {
        "invitation": letter.to_text(),
        "endpoints": {"resolve": [f"https://{guest.name}.example"]},
        "who": WHO,
        "by": "installer",
    }


async def join(network: Network, superior: TestNode, guest: TestNode, prefix: str, **more: Any) -> None:
    parent = P(prefix).parent
    assert parent is not None
    membership = network.membership(guest)
    letter = invited(superior, prefix, parent=parent.key, **more)
    home = await membership.join(**asking(guest, letter))
    assert home.state is HomeState.PENDING
    superior.prefixes.approve(operator_of(parent.key), P(prefix))
    assert await membership.renew_due() == {}


async def test_three_tiers_join_one_after_another(
    network: Network, top: TestNode, park: TestNode, plant: TestNode
) -> None:
    await join(network, top, park, "88.107")
    await join(network, park, plant, "88.107.1001")
    chain = plant.chain("88.107.1001")
    assert [str(statement.subject) for statement in chain.statements] == ["88.107.1001", "88.107", "88"]
    plant.register("88.107.1001/BATCH-1", private="内部")
    assert plant.verified("88.107.1001/BATCH-1", chain).issuer == P("88.107.1001")
    assert plant.record("0.NA/88.107.1001") == park.record("0.NA/88.107.1001")


async def test_until_it_is_approved_a_guest_waits(network: Network, top: TestNode, park: TestNode) -> None:
    membership = network.membership(park)
    await membership.join(**asking(park, invited(top, "88.107", parent="88")))
    assert (await membership.poll(P("88.107"))).state is HomeState.PENDING
    top.prefixes.approve(operator_of("88"), P("88.107"))
    assert (await membership.poll(P("88.107"))).state is HomeState.ACTIVE


async def test_a_refusal_is_read_in_both_languages(network: Network, top: TestNode, park: TestNode) -> None:
    membership = network.membership(park)
    await membership.join(**asking(park, invited(top, "88.107", parent="88")))
    top.prefixes.refuse(operator_of("88"), P("88.107"), reason="unverified", remark="请补交营业执照")
    home = await membership.poll(P("88.107"))
    assert home.state is HomeState.REFUSED
    assert "申请单位实名核验未通过" in home.reason
    assert "could not be verified" in home.reason
    assert "请补交营业执照" in home.reason
    assert await membership.renew_due() == {}
    await join(network, top, park, "88.107")
    assert park.homes.homes(P("88.107"))


async def test_the_superiors_refusal_keeps_its_kind_and_both_texts(
    network: Network, top: TestNode, park: TestNode, plant: TestNode
) -> None:
    letter = invited(top, "88.107", parent="88")
    await network.membership(park).join(**asking(park, letter))
    with pytest.raises(ForbiddenError) as refusal:
        await network.membership(plant).join(**asking(plant, letter))
    assert "good once" in refusal.value.message("en")
    assert "邀请码仅能使用一次" in refusal.value.message("zh")
    assert refusal.value.field == "secret"


async def test_an_unknown_secret_is_nobody(network: Network, top: TestNode, park: TestNode) -> None:
    letter = replace(invited(top, "88.107", parent="88"), secret="guessed")
    with pytest.raises(UnauthenticatedError):
        await network.membership(park).join(**asking(park, letter))


async def test_no_trust_on_first_use(
    network: Network, top: TestNode, park: TestNode, tmp_path: Path, clock: MovedClock
) -> None:
    """Somebody else answers at the address: with a root, a chain and a record of its own, all in order."""
    (tmp_path / "evil").mkdir()
    impostor = a_top(tmp_path / "evil", clock)
    letter = invited(top, "88.107", parent="88")
    same_secret = invited(impostor, "88.107", parent="88")
    network.apps["top.example"].state.node = ServedNode(impostor.prefixes, network.executor)
    membership = network.membership(park)
    await membership.join(**asking(park, replace(letter, secret=same_secret.secret)))
    impostor.prefixes.approve(operator_of("88"), P("88.107"))
    with pytest.raises(UntrustedError) as refusal:
        await membership.poll(P("88.107"))
    assert refusal.value.code == "registry.trust.fingerprint"
    assert park.prefixes.anchor() is None
    assert not park.homes.homes(P("88.107"))


async def test_one_node_stands_under_one_root(
    network: Network, top: TestNode, park: TestNode, tmp_path: Path, clock: MovedClock
) -> None:
    await join(network, top, park, "88.107")
    (tmp_path / "other").mkdir()
    other = a_top(tmp_path / "other", clock, prefix="86")
    with pytest.raises(UntrustedError, match="one node stands under one root"):
        await network.membership(park).join(**asking(park, invited(other, "86.5", parent="86")))


async def test_an_answer_lost_on_the_way_costs_nothing(
    network: Network, top: TestNode, park: TestNode
) -> None:
    letter = invited(top, "88.107", parent="88")
    membership = network.membership(park)
    for _ in range(2):
        network.lost_answers = 1
        with pytest.raises(UnavailableError):
            await membership.join(**asking(park, letter))
    superior = top.prefixes.submit
    lost: list[Exception] = []

    def answer_then_fail(application: Any) -> Any:
        superior(application)
        lost.append(UnavailableError("registry.storage.unavailable", reason="cut"))
        raise lost[-1]

    top.prefixes.submit = answer_then_fail
    with pytest.raises(UnavailableError):
        await membership.join(**asking(park, letter))
    top.prefixes.submit = superior
    home = await membership.join(**asking(park, letter))
    assert home.state is HomeState.PENDING
    assert len(top.prefixes.requests(operator_of("88"), P("88"))) == 1
    assert park.keys.kids() == (home.kid,)


async def test_a_joined_prefix_rotates_moves_and_renews(
    network: Network, top: TestNode, park: TestNode, clock: MovedClock
) -> None:
    await join(network, top, park, "88.107")
    membership = network.membership(park)
    park.register("88.107/OLD")
    first = park.homes.signer_for(P("88.107"))[0].kid
    await membership.rotate_key(admin_of("88.107"), P("88.107"))
    assert park.homes.signer_for(P("88.107"))[0].kid != first
    await membership.change_endpoints(admin_of("88.107"), P("88.107"), {"resolve": ["https://b.example"]})
    assert park.chain("88.107").leaf.endpoints.resolve == ("https://b.example",)
    clock.time += 61 * DAY
    assert await membership.renew_due() == {}
    assert park.chain("88.107").leaf.exp == clock.now() + 90 * DAY
    park.verified("88.107/OLD", park.chain("88.107"))


async def test_a_key_revoked_above_is_refused_below_and_one_revoked_below_is_refused_above(
    network: Network, top: TestNode, park: TestNode, plant: TestNode
) -> None:
    """What is said against keys, and all keys there ever were, cross the wire with the standing."""
    await join(network, top, park, "88.107")
    await join(network, top, plant, "88.108")
    membership = network.membership(park)
    beside, kid = plant.chain("88.108"), plant.homes.signer_for(P("88.108"))[0].kid
    park.prefixes.revoking.judge()(beside, kid, None)
    top.prefixes.revoke_key(operator_of("88"), P("88.108"), kid)
    await membership.poll(P("88.107"))
    with pytest.raises(UntrustedError) as refusal:
        park.prefixes.revoking.judge()(beside, kid, None)
    assert refusal.value.code == "registry.trust.key_revoked"

    own, stolen = park.chain("88.107"), park.homes.signer_for(P("88.107"))[0].kid
    top.prefixes.revoking.judge()(own, stolen, None)
    await membership.renew(P("88.107"), compromised=True)
    with pytest.raises(UntrustedError) as refusal:
        top.prefixes.revoking.judge()(own, stolen, None)
    assert refusal.value.code == "registry.trust.key_revoked"
    history = park.prefixes.revoking.history(P("88.107"))
    assert history is not None
    keys = {key.kid: key.revoked for key in read_history(history).keys}
    assert keys == {stolen: park.clock.now(), park.homes.signer_for(P("88.107"))[0].kid: None}


@pytest.mark.parametrize("where", ["there", "away", "brought", "lost"])
async def test_fault_14_a_key_rotated_after_the_backup_is_found_in_the_key_folder_or_asked_for(
    network: Network, top: TestNode, park: TestNode, clock: MovedClock, where: str
) -> None:
    """A node restored from a backup older than a rotation: its superior names a key that its database does not."""
    prefix = P("88.107")
    await join(network, top, park, "88.107")
    membership = network.membership(park)
    picture = whole_picture(park.database)
    old = park.homes.signer_for(prefix)[0].kid
    await membership.rotate_key(admin_of("88.107"), prefix)
    new = park.homes.signer_for(prefix)[0].kid
    park.register("88.107/NEW")
    restored(park.database, picture)
    park = park.reopened()
    park.homes.refresh()
    membership = network.membership(park)
    assert park.homes.signer_for(prefix)[0].kid == old
    file, safe = park.folder / "keys" / f"{new}.pem", park.folder / "safe.pem"
    if where == "there":
        await membership.confirm()
    else:
        file.rename(safe)
        with pytest.raises(UntrustedError) as refusal:
            await membership.confirm()
        assert refusal.value.code == "registry.prefixes.key_foreign"
        for language, word in (("en", "rekey"), ("zh", "密钥目录")):
            assert new in refusal.value.message(language)
            assert word in refusal.value.message(language)
        # what the old key would sign nobody would take
        with pytest.raises(ForbiddenError):
            park.homes.signer_for(prefix)
        with pytest.raises(ForbiddenError):
            park.register("88.107/OLD")
        if where == "away":
            return
        if where == "brought":
            safe.rename(file)
            await membership.confirm()
        else:
            clock.time += 60
            letter = invited(top, "88.107", parent="88", purpose=Purpose.REKEY)
            await membership.join(**asking(park, letter))
            top.prefixes.approve(operator_of("88"), prefix)
            await membership.poll(prefix)
            await membership.confirm()
            new = read(top.prefixes.delegated(prefix).chain[0]).keys[0].kid
    assert park.homes.signer_for(prefix)[0].kid == new != old
    park.register("88.107/AGAIN")
    park.verified("88.107/AGAIN", park.chain("88.107"))
    await membership.renew(prefix)


async def test_a_superior_cannot_make_another_use_of_a_key_that_is_in_the_folder(
    network: Network, top: TestNode, park: TestNode
) -> None:
    """Only a key that nothing else here uses becomes the signing key of a prefix because its superior says so."""
    prefix = P("88.107")
    await join(network, top, park, "88.107")
    membership = network.membership(park)
    park.prefixes.host(admin_of("88.107"), P("88.107.5"))
    beside = park.homes.home(P("88.107.5"))
    assert beside is not None
    picture = whole_picture(park.database)
    await membership.rotate_key(admin_of("88.107"), prefix)
    new = park.homes.signer_for(prefix)[0].kid
    restored(park.database, picture)
    with park.store.write() as unit:
        unit.put_home(replace(beside, kid=new))
    park = park.reopened()
    park.homes.refresh()
    with pytest.raises(UntrustedError) as refusal:
        await network.membership(park).confirm()
    assert refusal.value.code == "registry.prefixes.key_foreign"


async def test_a_superior_that_is_away_when_keys_are_confirmed_is_told_and_nothing_changes(
    network: Network, top: TestNode, park: TestNode
) -> None:
    await join(network, top, park, "88.107")
    network.down.add("top.example")
    with pytest.raises(UnavailableError):
        await network.membership(park).confirm()
    park.register("88.107/STILL")


def test_a_superior_of_an_older_version_sends_no_lists(top: TestNode, park: TestNode) -> None:
    joined(top, park, "88.107")
    top.prefixes.upkeep()
    form = from_standing(top.prefixes.delegated(P("88.107")))
    assert to_standing(form).revocations == tuple(form["revocations"]) != ()
    del form["revocations"], form["histories"]
    assert (to_standing(form).revocations, to_standing(form).histories) == ((), ())


@pytest.mark.parametrize(
    "lists", ["x", [1], ["x" * 262_145], ["x"] * 17], ids=["text", "number", "large", "many"]
)
def test_lists_that_are_none_or_too_many_are_refused(top: TestNode, park: TestNode, lists: Any) -> None:
    joined(top, park, "88.107")
    form = from_standing(top.prefixes.delegated(P("88.107")))
    with pytest.raises(MalformedError):
        to_standing({**form, "revocations": lists})


async def test_only_the_prefixs_own_administrator_changes_it(
    network: Network, top: TestNode, park: TestNode
) -> None:
    await join(network, top, park, "88.107")
    membership = network.membership(park)
    for somebody in (operator_of("88.107"), admin_of("88"), admin_of("88.10")):
        with pytest.raises(ForbiddenError):
            await membership.rotate_key(somebody, P("88.107"))
        with pytest.raises(ForbiddenError):
            await membership.change_endpoints(somebody, P("88.107"), {"resolve": []})


async def test_a_hosted_prefix_is_changed_through_the_same_door(network: Network, top: TestNode) -> None:
    top.prefixes.host(operator_of("88"), P("88.5"))
    before = top.homes.signer_for(P("88.5"))[0].kid
    home = await network.membership(top).rotate_key(admin_of("88.5"), P("88.5"))
    assert home.kid != before
    moved = await network.membership(top).change_endpoints(
        admin_of("88"), P("88"), {"resolve": ["https://m.example"]}
    )
    assert moved.prefix == P("88")


async def test_a_suspension_reaches_the_holder_and_so_does_its_end(
    network: Network, top: TestNode, park: TestNode
) -> None:
    await join(network, top, park, "88.107")
    membership = network.membership(park)
    top.prefixes.suspend(operator_of("88"), P("88.107"), reason="检查")
    assert (await membership.poll(P("88.107"))).state is HomeState.SUSPENDED
    top.prefixes.resume(operator_of("88"), P("88.107"))
    await membership.renew_due()
    park.register("88.107/X")
    top.prefixes.revoke(operator_of("88"), P("88.107"), reason="注销")
    assert (await membership.poll(P("88.107"))).state is HomeState.REVOKED
    assert park.prefixes.joining.due() == []


async def test_a_silent_superior_is_reported_and_holds_nobody_up(
    network: Network, top: TestNode, park: TestNode, plant: TestNode, clock: MovedClock
) -> None:
    await join(network, top, park, "88.107")
    await join(network, top, park, "88.108")
    await join(network, park, plant, "88.107.1001")
    clock.time += 61 * DAY
    network.down.add("top.example")
    failed = await network.membership(park).renew_due()
    assert {prefix: type(error) for prefix, error in failed.items()} == {
        "88.107": UnavailableError,
        "88.108": UnavailableError,
    }
    assert await network.membership(plant).renew_due() == {}
    network.down.clear()
    assert await network.membership(park).renew_due() == {}


async def test_the_superior_is_found_where_its_own_statement_says(
    network: Network, top: TestNode, park: TestNode
) -> None:
    await join(network, top, park, "88.107")
    network.apps["moved.example"] = network.apps.pop("top.example")
    top.prefixes.change_endpoints(admin_of("88"), P("88"), {"resolve": ["https://moved.example"]})
    with pytest.raises(UnavailableError):
        await network.membership(park).poll(P("88.107"))
    network.apps["top.example"] = network.apps["moved.example"]
    await network.membership(park).poll(P("88.107"))
    del network.apps["top.example"]
    assert (await network.membership(park).poll(P("88.107"))).state is HomeState.ACTIVE


async def test_the_pin_of_the_invitation_is_used(network: Network, top: TestNode, park: TestNode) -> None:
    letter = replace(invited(top, "88.107", parent="88"), tls_sha256="A" * 43)
    await network.membership(park).join(**asking(park, letter))
    assert set(network.pins) == {"A" * 43}


async def test_each_address_is_tried(network: Network, top: TestNode, park: TestNode) -> None:
    letter = invited(top, "88.107", parent="88")
    letter = replace(letter, urls=("https://gone.example", *letter.urls))
    assert (await network.membership(park).join(**asking(park, letter))).state is HomeState.PENDING


async def test_the_whole_hand_over(
    network: Network, top: TestNode, park: TestNode, plant: TestNode, tmp_path: Path
) -> None:
    await join(network, top, park, "88.107")
    small, owner = P("88.107.1003"), admin_of("88.107.1003")
    park.prefixes.host(operator_of("88.107"), small, who=WHO)
    park.register("88.107.1003/DRUM-7", private="配方")
    park.prefixes.close(owner, small)
    park.clock.time += 2
    park.prefixes.export_handover(owner, small, tmp_path / "bundle")
    membership = network.membership(plant)
    letter = invited(park, "88.107.1003", parent="88.107", purpose=Purpose.HANDOVER)
    await membership.join(**asking(plant, letter))
    plant.prefixes.accept_handover(owner, tmp_path / "bundle")
    park.prefixes.approve(operator_of("88.107"), small)
    assert (await membership.poll(small)).state is HomeState.ACTIVE
    plant.verified("88.107.1003/DRUM-7", plant.chain("88.107.1003"))
    assert read(park.homes.delegation(small)[0]).endpoints.resolve == ("https://plant.example",)


@pytest.fixture
async def http(network: Network, top: TestNode) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(network.apps["top.example"])
    async with httpx.AsyncClient(transport=transport, base_url="https://top.example/federation/v1") as client:
        yield client


BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "no JSON": (b"hello", 400),
    "an array": (b"[]", 400),
    "a member twice": (b'{"secret":"a","secret":"b"}', 400),
    "nothing in it": (b"{}", 400),
    "wrong types": (b'{"secret":1,"jwk":[],"possession":{},"endpoints":3}', 400),
    "NaN": (b'{"secret":NaN}', 400),
    "deep": (b'{"a":' * 40 + b"1" + b"}" * 40, 400),
    "not UTF-8": (b'{"secret":"\xff"}', 400),
    "too large": (b'{"secret":"' + b"a" * MAX_REQUEST_BYTES + b'"}', 413),
}


@pytest.mark.parametrize("path", ["/join", "/renew"])
@pytest.mark.parametrize("row", BAD_BODIES)
async def test_a_body_that_cannot_be_read_is_refused(http: httpx.AsyncClient, path: str, row: str) -> None:
    body, status = BAD_BODIES[row]
    answer = await http.post(path, content=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail_zh"]


async def test_what_is_unknown_is_not_found(http: httpx.AsyncClient) -> None:
    assert (await http.get("/join/guessed")).status_code == 404
    assert (await http.get("/delegations/88.107")).status_code == 404
    assert (await http.get("/delegations/88..107")).status_code == 400


async def test_the_newest_delegation_is_public(
    http: httpx.AsyncClient, network: Network, top: TestNode, park: TestNode
) -> None:
    await join(network, top, park, "88.107")
    answer = await http.get("/delegations/88.107")
    assert answer.status_code == 200
    assert answer.json()["chain"] == list(park.homes.chain(P("88.107")))
    assert answer.headers["cache-control"] == "no-store"


async def test_every_route_is_declared(network: Network, top: TestNode) -> None:
    found = {
        f"{method.upper()} {path}"
        for path, methods in network.apps["top.example"].openapi()["paths"].items()
        for method in methods
    }
    assert found == set(ACCESS)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, content=b"<html>"), MalformedError),
        (httpx.Response(302, headers={"location": "https://elsewhere.example"}), MalformedError),
        (httpx.Response(502, content=b"bad gateway"), UnavailableError),
        (httpx.Response(404, json={"type": "urn:hazlink:problem:not-found", "detail": "x"}), NotFoundError),
        (httpx.Response(418, json={"detail": "teapot"}), ForbiddenError),
        (httpx.Response(503, json={"type": "urn:hazlink:problem:nonsense"}), UnavailableError),
        (httpx.Response(200, content=b"[" + b"1," * 2_200_000 + b"1]"), MalformedError),
        (httpx.Response(200, json={"nonce": "n" * 200}), MalformedError),
        (
            httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b")),
            MalformedError,
        ),
    ],
)
async def test_whatever_stands_at_the_address_is_told_apart(
    top: TestNode, park: TestNode, network: Network, answer: httpx.Response, error: type[HazlinkError]
) -> None:
    def connect(_pin: str | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer))

    membership = Membership(
        prefixes=park.prefixes,
        superiors=HttpsSuperiors(connect=connect),
        clock=park.clock,
        executor=network.executor,
    )
    with pytest.raises(error):
        await membership.join(**asking(park, invited(top, "88.107", parent="88")))


async def test_the_timer_asks_less_and_less_often_while_the_operator_thinks(
    network: Network, top: TestNode, park: TestNode
) -> None:
    asked: list[float] = []

    class Timer(MovedClock):
        async def sleep(self, seconds: float) -> None:
            self.time += seconds
            if self.time > 1_790_001_000:
                raise asyncio.CancelledError

    timer = Timer()
    superiors = HttpsSuperiors(connect=network.connect)
    membership = Membership(
        prefixes=park.prefixes, superiors=superiors, clock=timer, executor=network.executor
    )
    await membership.join(**asking(park, invited(top, "88.107", parent="88")))
    standing = top.prefixes.standing

    def noted(ticket: str) -> Any:
        asked.append(timer.time)
        return standing(ticket)

    top.prefixes.standing = noted
    with pytest.raises(asyncio.CancelledError):
        await membership.run(every_seconds=3)
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 3
    assert 57 <= pauses[-1] <= 63


async def test_the_timer_keeps_going_when_the_superior_is_away(
    network: Network, top: TestNode, park: TestNode, clock: MovedClock
) -> None:
    await join(network, top, park, "88.107")
    clock.time += 61 * DAY
    network.down.add("top.example")
    rounds: list[float] = []

    class Timer(MovedClock):
        async def sleep(self, seconds: float) -> None:
            rounds.append(seconds)
            self.time += seconds
            network.down.clear()
            if len(rounds) == 2:
                raise asyncio.CancelledError

    membership = Membership(
        prefixes=park.prefixes,
        superiors=HttpsSuperiors(connect=network.connect),
        clock=Timer(),
        executor=network.executor,
    )
    with pytest.raises(asyncio.CancelledError):
        await membership.run(every_seconds=60)
    assert rounds == [60, 60]
    assert park.chain("88.107").leaf.exp == clock.now() + 90 * DAY
