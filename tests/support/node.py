"""Nodes in a temporary folder, and how tests talk to them without a socket."""

from __future__ import annotations

import base64
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from node.accounts.config import AccountsConfig
from node.accounts.secret_files import SecretHash
from node.accounts.service import Accounts
from node.schema import metadata
from node.settings import load
from node.wiring import build
from registry.clock import SystemClock
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from registry.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from node.wiring import Node

NOW = 1_800_000_000.0
#: Argon2id as cheap as it goes: what is tested is not its cost.
CHEAP = AccountsConfig(argon2_memory_kib=8, argon2_passes=1, argon2_lanes=1)
PARK, PLANT, OTHER = Prefix("88.107"), Prefix("88.107.1001"), Prefix("88.107.1002")


class TestClock:
    """A clock that moves when told to; sleeping moves it."""

    __test__ = False

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def counted_bytes() -> Any:
    """Return a source of bytes that differ each time and are the same in each run."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def an_admin(*prefixes: Prefix, role: Role = Role.ADMIN, name: str = "chief@88.107") -> Principal:
    return Principal(name=name, grants=frozenset(Grant(prefix, role) for prefix in prefixes or (PARK,)))


def some_accounts(folder: Path, clock: Any) -> Accounts:
    database = Database(f"sqlite:///{folder / 'accounts.sqlite3'}")
    with database.write() as connection:
        metadata().create_all(connection)
    return Accounts(
        database=database,
        clock=clock,
        config=CHEAP,
        secret_hash=SecretHash(b"k" * 32),
        randomness=counted_bytes(),
    )


def a_node(folder: Path, *, root: str | None = "88", clock: Any = None, **given: Any) -> Node:
    """Return a prepared node that serves nobody yet; `root` makes it a top node."""
    sections: dict[str, Any] = {
        "accounts": {"argon2_memory_kib": 8, "argon2_passes": 1, "argon2_lanes": 1},
        "peers": {"allow_loopback_peers": True},
    }
    folder.mkdir(parents=True, exist_ok=True)
    node = build(load(folder, **{**sections, **given}), clock or SystemClock())
    node.prepare()
    if root is not None:
        node.prefixes.init_root(Prefix(root), endpoints=node.endpoints(), who="test")
    return node


@asynccontextmanager
async def living(node: Node) -> AsyncIterator[Node]:
    """Let a node live for a while."""
    await node.start(first=True)
    try:
        yield node
    finally:
        await node.stop()


def talking_to(node: Node, *, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Return a client of the node's whole HTTP application."""
    transport = httpx.ASGITransport(app=node.asgi(), client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://node.test")


def basic(name: str, secret: str) -> dict[str, str]:
    """Return the header a Handle client sends."""
    shown = base64.b64encode(f"{quote(name, safe='/')}:{secret}".encode()).decode()
    return {"authorization": f"Basic {shown}"}
