import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.accounts.authenticator import AccountAuthenticator, Bounded
from node.accounts.throttle import Throttle
from node.accounts.tokens import NodeTokens, Tokens
from registry.access import Credentials
from registry.errors import RateLimitError, UnauthenticatedError
from registry.identifier import Prefix
from registry.principal import ANONYMOUS, Grant, Operation, Role
from tests.support.node import PARK, TestClock, an_admin, basic, counted_bytes, some_accounts

CHIEF = an_admin(PARK)
PAIR = "300:0.NA/88.107"


class House:
    def __init__(self, folder):
        self.clock = TestClock()
        self.accounts = some_accounts(folder, self.clock)
        self.executor = ThreadPoolExecutor(2)
        _, self.secret = self.accounts.add_system(CHIEF, PAIR, [Role.ADMIN])
        self.accounts.add_person(CHIEF, "zhang.san@88.107", "a long secret", [Role.EDITOR])
        self.tokens = Tokens(key=b"k" * 32, audience="hazlink", seconds=900, clock=self.clock)
        self.fences = {}
        self.authenticator = AccountAuthenticator(
            accounts=self.accounts,
            tokens=self.tokens,
            throttle=Throttle(clock=self.clock, failures=3, longest_wait_seconds=60),
            clock=self.clock,
            executor=self.executor,
            recheck_seconds=2.0,
            randomness=counted_bytes(),
            fence=lambda prefix: self.fences.get(prefix.key),
        )

    def node_bearer(self, prefix, fence):
        return "Bearer " + NodeTokens(self.tokens).issue(Prefix(prefix), fence)[0]

    async def shown(self, authorization, *, secure=True):
        return await self.authenticator.authenticate(Credentials(authorization, secure, "192.0.2.1"))

    async def token(self, name=PAIR, secret=None):
        account = await self.authenticator.login(name, secret or self.secret, "192.0.2.1")
        return "Bearer " + self.authenticator.issue(account)[0]


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.executor.shutdown()


async def test_nothing_shown_is_the_public(house):
    assert await house.shown(None) is ANONYMOUS


async def test_basic_carries_the_handle_pair_with_its_colon_escaped(house):
    header = basic(PAIR, house.secret)["authorization"]
    principal = await house.shown(header)
    assert principal.handle == PAIR
    assert (await house.shown(header)).name == PAIR


async def test_basic_in_the_clear_is_refused_even_when_right(house):
    with pytest.raises(UnauthenticatedError, match="TLS"):
        await house.shown(basic(PAIR, house.secret)["authorization"], secure=False)


@pytest.mark.parametrize(
    "header",
    [
        "Basic !!!",
        "Basic " + base64.b64encode(b"no-colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Digest x",
        "Bearer",
        "Bearer " + "a" * 5000,
        "",
    ],
)
async def test_unreadable_credentials_are_refused_never_taken_for_nobody(house, header):
    with pytest.raises(UnauthenticatedError):
        await house.shown(header)


async def test_a_token_works_and_ends_soon_after_the_account_is_disabled(house):
    house.accounts.add_person(CHIEF, "two@88.107", "a long secret", [Role.ADMIN])
    bearer = await house.token()
    assert (await house.shown(bearer)).name == PAIR
    house.accounts.set_enabled(CHIEF, PAIR, enabled=False)
    house.clock.time += 2.1
    with pytest.raises(UnauthenticatedError, match="changed or disabled"):
        await house.shown(bearer)


async def test_a_changed_role_cuts_the_token_and_the_next_one_has_it(house):
    bearer = await house.token("zhang.san@88.107", "a long secret")
    house.accounts.set_roles(CHIEF, "zhang.san@88.107", PARK, [Role.READER])
    house.authenticator.forget("Zhang.San@88.107")
    with pytest.raises(UnauthenticatedError):
        await house.shown(bearer)
    fresh = await house.shown(await house.token("zhang.san@88.107", "a long secret"))
    assert {grant.role for grant in fresh.grants} == {Role.READER}


async def test_a_remembered_password_does_not_outlive_its_change(house):
    header = basic("zhang.san@88.107", "a long secret")["authorization"]
    await house.shown(header)
    house.accounts.set_password(CHIEF, "zhang.san@88.107", "another secret")
    house.clock.time += 2.1
    with pytest.raises(UnauthenticatedError):
        await house.shown(header)
    await house.shown(basic("zhang.san@88.107", "another secret")["authorization"])


async def test_guessing_is_slowed_down_and_right_answers_wait_too(house):
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await house.shown(basic("zhang.san@88.107", "wrong secret")["authorization"])
    with pytest.raises(RateLimitError):
        await house.shown(basic("zhang.san@88.107", "a long secret")["authorization"])
    house.clock.time += 1.1
    await house.shown(basic("zhang.san@88.107", "a long secret")["authorization"])


async def test_malformed_names_count_as_failures_of_their_address(house):
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await house.authenticator.login("no name", "x", "192.0.2.1")
    with pytest.raises(RateLimitError):
        await house.authenticator.login("no name", "x", "192.0.2.1")


async def test_another_node_is_its_prefix_in_the_role_of_a_node(house):
    house.fences["88.107.1001"] = 2
    principal = await house.shown(house.node_bearer("88.107.1001", 2))
    assert principal.name == "node:88.107.1001"
    assert principal.grants == {Grant(Prefix("88.107.1001"), Role.NODE)}
    assert not principal.may(Operation.RECORD_READ)


async def test_a_nodes_token_is_cut_when_another_copy_opened_a_session_with_a_greater_fence(house):
    house.fences["88.107.1001"] = 2
    older = house.node_bearer("88.107.1001", 2)
    await house.shown(older)
    house.fences["88.107.1001"] = 3
    newer = house.node_bearer("88.107.1001", 3)
    await house.shown(newer)
    with pytest.raises(UnauthenticatedError, match="changed or disabled"):
        await house.shown(older)
    house.clock.time += 2.1
    with pytest.raises(UnauthenticatedError):
        await house.shown(older)
    await house.shown(newer)


async def test_a_node_without_a_session_and_a_house_without_sessions_accept_no_nodes_token(house):
    with pytest.raises(UnauthenticatedError):
        await house.shown(house.node_bearer("88.107.1009", 1))
    house.authenticator._fence = None
    with pytest.raises(UnauthenticatedError):
        await house.shown(house.node_bearer("88.107.1001", 1))


def test_the_small_memory_forgets_what_expired_and_what_is_oldest():
    memory: Bounded[int] = Bounded(2)
    for number, name in enumerate("abc"):
        memory.put(name, number, until=10.0)
    assert [memory.get(name, 5.0) for name in "abc"] == [None, 1, 2]
    assert memory.get("c", 10.0) is None
