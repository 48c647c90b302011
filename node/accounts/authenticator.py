"""From what a caller showed to who is asking: bearer tokens, and Basic where nobody can listen.

Both paths end at the account's present state, looked up at most every `recheck_seconds`; a password that was just
checked is remembered for a minute as a keyed hash, so that a Handle client, which sends it each time, pays
Argon2id once.

The token of another node stands for its prefix in the role `node`, for as long as its session is the newest one of
that prefix: when another copy of that node opened one with a greater fencing number, the token is cut.
"""

import asyncio
import hashlib
import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar
from urllib.parse import unquote

from node.accounts.account import Account, AccountKind, normal_name
from node.accounts.service import Accounts
from node.accounts.throttle import Throttle
from node.accounts.tokens import Claims, Tokens
from registry.access import Credentials
from registry.clock import Clock
from registry.errors import HazlinkError, UnauthenticatedError
from registry.identifier import Prefix
from registry.principal import ANONYMOUS, Grant, Principal, Role
from resolver.pool import in_pool

__all__ = ["AccountAuthenticator", "Bounded"]

_REMEMBER_SECONDS = 60.0
_LARGEST = 4_096
_CHECKS_AT_ONCE = 2

_Value = TypeVar("_Value")


class Bounded(Generic[_Value]):
    """A small memory of values that expire; the least recently stored go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[float, _Value]] = OrderedDict()

    def get(self, key: str, now: float) -> _Value | None:
        """Return the value while it holds."""
        found = self._kept.get(key)
        return found[1] if found and found[0] > now else None

    def put(self, key: str, value: _Value, until: float) -> None:
        """Keep a value until then."""
        self._kept.pop(key, None)
        self._kept[key] = (until, value)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget it."""
        self._kept.pop(key, None)


class AccountAuthenticator:
    """Implements `registry.access.Authenticator` over the accounts. Owner of its state: the event loop's thread."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        tokens: Tokens,
        throttle: Throttle,
        clock: Clock,
        executor: Executor,
        recheck_seconds: float,
        randomness: Callable[[int], bytes],
        fence: Callable[[Prefix], int | None] | None = None,
    ) -> None:
        """Take the parts.

        Args:
            accounts: who there is.
            tokens: issues and verifies access tokens.
            throttle: slows guessing down.
            clock: the time.
            executor: bounded pool for blocking calls.
            recheck_seconds: how long a looked-up state is believed.
            randomness: makes the key under which checked passwords are remembered.
            fence: the fencing number of the newest session of another node, None when it has none; without it no
                node's token is accepted.
        """
        self._accounts = accounts
        self._tokens = tokens
        self._throttle = throttle
        self._clock = clock
        self._executor = executor
        self._recheck = recheck_seconds
        self._memory_key = randomness(32)
        self._states: Bounded[Account] = Bounded(4_096)
        self._fence = fence
        self._claims: Bounded[Claims] = Bounded(4_096)
        self._fences: Bounded[int] = Bounded(4_096)
        self._logins: Bounded[tuple[str, int]] = Bounded(1_024)
        # Each Argon2id check takes tens of megabytes: few at once, whoever asks.
        self._slots = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return the principal; the anonymous one when nothing was shown.

        Raises:
            UnauthenticatedError: what was shown does not hold.
            RateLimitError: too many failures before.
        """
        shown = credentials.authorization
        if shown is None:
            return ANONYMOUS
        scheme, _, content = shown.partition(" ")
        scheme = scheme.lower()
        if len(shown) > _LARGEST:
            raise UnauthenticatedError("node.accounts.token", reason="size")
        if scheme == "bearer":
            return await self._bearer(content.strip())
        if scheme == "basic":
            if not credentials.secure:
                raise UnauthenticatedError("node.accounts.basic_needs_tls", field="Authorization")
            name, secret = _basic(content.strip())
            return (await self.login(name, secret, credentials.address)).principal()
        raise UnauthenticatedError("node.accounts.scheme", scheme=scheme)

    async def login(self, name: str, secret: str, address: str) -> Account:
        """Return the account that this name and secret belong to.

        Raises:
            UnauthenticatedError: they belong to none.
            RateLimitError: too many failures before.
        """
        try:
            normal = normal_name(name)
        except HazlinkError:
            self._throttle.check("", address)
            self._throttle.failed("", address)
            raise UnauthenticatedError("node.accounts.wrong") from None
        mark = hmac.new(
            self._memory_key, f"{normal}\0{secret}".encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()
        if remembered := self._logins.get(mark, self._clock.monotonic()):
            account = await self._state(normal)
            if account is not None and account.enabled and account.version == remembered[1]:
                return account
            self._logins.drop(mark)
        self._throttle.check(normal, address)
        try:
            account = await self._check(normal, secret)
        except UnauthenticatedError:
            self._throttle.failed(normal, address)
            raise
        self._throttle.succeeded(normal, address)
        now = self._clock.monotonic()
        self._logins.put(mark, (normal, account.version), now + _REMEMBER_SECONDS)
        self._states.put(normal, account, now + self._recheck)
        return account

    def issue(self, account: Account) -> tuple[str, int]:
        """Return an access token for an account that just logged in, and its life in seconds."""
        return self._tokens.issue(account.name, account.version), self._tokens.seconds

    def forget(self, name: str) -> None:
        """Look the account up again at its next request: it was changed here."""
        self._states.drop(normal_name(name))

    async def _bearer(self, token: str) -> Principal:
        now = self._clock.monotonic()
        known = self._claims.get(token, now)
        if known is None:
            known = self._tokens.verify(token)
            self._claims.put(token, known, now + known.expires - self._clock.now())
        if known.node:
            return await self._node(known)
        account = await self._state(known.name)
        if account is None or not account.enabled or account.version != known.version:
            raise UnauthenticatedError("node.accounts.token_cut")
        return account.principal()

    async def _node(self, claims: Claims) -> Principal:
        now = self._clock.monotonic()
        prefix = Prefix(claims.name)
        newest = self._fences.get(prefix.key, now)
        if newest is None or newest < claims.version:
            looked_up = await in_pool(self._executor, self._fence, prefix) if self._fence else None
            if looked_up is None:
                raise UnauthenticatedError("node.accounts.token_cut")
            newest = looked_up
            self._fences.put(prefix.key, newest, now + self._recheck)
        if newest != claims.version:
            raise UnauthenticatedError("node.accounts.token_cut")
        return Principal(name=f"node:{prefix.key}", grants=frozenset({Grant(prefix, Role.NODE)}))

    async def _state(self, name: str) -> Account | None:
        now = self._clock.monotonic()
        if kept := self._states.get(name, now):
            return kept
        account = await in_pool(self._executor, self._accounts.find, name)
        if account is not None:
            self._states.put(name, account, now + self._recheck)
        return account

    async def _check(self, name: str, secret: str) -> Account:
        known = await self._state(name)
        if known is not None and known.kind is AccountKind.SYSTEM:
            return await in_pool(self._executor, self._accounts.check, name, secret)
        async with self._slots:
            return await in_pool(self._executor, self._accounts.check, name, secret)


def _basic(content: str) -> tuple[str, str]:
    """Split a Basic header as the Handle HTTP API asks: at the first colon, the name percent-decoded."""
    try:
        decoded = b64decode(content, validate=True).decode()
    except (Base64Error, ValueError):
        raise UnauthenticatedError("node.accounts.basic_form") from None
    name, colon, secret = decoded.partition(":")
    if not colon:
        raise UnauthenticatedError("node.accounts.basic_form")
    return unquote(name), secret
