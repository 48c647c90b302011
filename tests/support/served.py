"""A whole node at its real doors: uvicorn and grpc.aio on loopback, in a thread of its own, with accounts of every role.

    88              the top, with its root
    88.107          a park
    88.107.1001     OWN: where the records of the tests stand
    88.107.1002     ELSE: another enterprise

Who asks is named by `ROLES`; `header` gives the header each of them sends.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import uvloop

from node.accounts import storage
from node.accounts.account import Account, AccountKind
from node.doors import HttpDoor, listen
from registry.clock import SystemClock
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from tests.support.node import a_node, an_admin

__all__ = ["ANONYMOUS", "ELSE", "NODE", "OWN", "PARK", "ROLES", "Served", "served"]

TOP, PARK = Prefix("88"), Prefix("88.107")
OWN, ELSE = Prefix("88.107.1001"), Prefix("88.107.1002")

ANONYMOUS, NODE = "anonymous", "node"
_GIVEN = (Role.READER, Role.EDITOR, Role.AUDITOR, Role.OPERATOR, Role.ADMIN)
#: Who asks: a role at OWN, the admin of another enterprise and of the park above, another node.
ROLES = (ANONYMOUS, *(role.value for role in _GIVEN), "admin elsewhere", "admin above", NODE)
_PATIENCE_SECONDS = 30.0


class Served:
    """A running node, and what a test needs to talk to it.

    Attributes:
        http: base URL of the HTTP door.
        grpc: address of the gRPC door.
        plain: an HTTP client that shows no credentials of its own.
        plain_channel: the same for gRPC.
        tokens: role → access token.
        secrets: role → name and secret of its account.
    """

    def __init__(self, folder: Path, **given: Any) -> None:
        self._folder, self._given = folder, given
        self._ready, self._end = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="served-node", daemon=True)
        self.node: Any = None
        self.tokens: dict[str, str] = {}
        self.secrets: dict[str, tuple[str, str]] = {}
        self.http = self.grpc = ""
        self.plain: httpx.Client
        self.plain_channel: grpc.Channel

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(_PATIENCE_SECONDS):
            raise TimeoutError("the node did not start")
        if self._failure is not None:
            raise self._failure
        self.plain = httpx.Client(base_url=self.http, timeout=_PATIENCE_SECONDS)
        self.plain_channel = grpc.insecure_channel(self.grpc)

    def stop(self) -> None:
        self.plain.close()
        self.plain_channel.close()
        self._end.set()
        self._thread.join(_PATIENCE_SECONDS)
        if self._failure is not None:
            raise self._failure

    def header(self, role: str) -> dict[str, str]:
        """Return the header `role` sends; none for the public."""
        return {"authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}

    def metadata(self, role: str) -> tuple[tuple[str, str], ...]:
        """Return what `role` sends with a call."""
        return tuple(self.header(role).items())

    def run(self, coroutine: Any) -> Any:
        """Run something inside the node's own loop and return what came of it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE_SECONDS)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as `serve` does
                runner.run(self._live())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._ready.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        clock = SystemClock()
        listener = await listen("127.0.0.1", 0, clock=clock, patience_seconds=0)
        port = listener.getsockname()[1]
        unlimited = {"address_per_second": 0, "principal_per_second": 0}
        given = {"doors": {"http_port": port}, "limits": unlimited, **self._given}
        node = self.node = a_node(self._folder, clock=clock, **given)
        self._settle()
        await node.start(first=True)
        http = HttpDoor(node.asgi(), listener=listener, config=node.settings.doors, tls=None, clock=clock)
        rpc = node.grpc_door(address="127.0.0.1:0", share_port=False, tls=None)
        try:
            await http.start()
            self.http, self.grpc = f"http://127.0.0.1:{port}", f"127.0.0.1:{await rpc.start()}"
            self._ready.set()
            await asyncio.get_running_loop().run_in_executor(None, self._end.wait)
        finally:
            await http.stop()
            await rpc.stop(0.1)
            await node.stop()

    def _settle(self) -> None:
        """Home the prefixes, and make an account for each role."""
        node, by = self.node, an_admin(TOP, PARK, OWN, ELSE, name="test@88")
        for prefix in (PARK, OWN, ELSE):
            node.prefixes.host(by, prefix)
        for role in _GIVEN:
            self._system(by, role.value, OWN, role)
        self._system(by, "admin elsewhere", ELSE, Role.ADMIN)
        self._system(by, "admin above", PARK, Role.ADMIN)
        # No admin gives this role: a node proves it by its chain. Here it stands beside the accounts.
        peer = Account(
            "peer@88.107.1001", OWN, AccountKind.SYSTEM, True, 1, 0, frozenset({Grant(OWN, Role.NODE)})
        )
        with node._parts.database.write() as connection:
            storage.add(connection, peer, "0" * 64)
        self.tokens[NODE] = node.authenticator.issue(peer)[0]

    def _system(self, by: Principal, name: str, prefix: Prefix, role: Role) -> None:
        spelled = f"{name.replace(' ', '-')}@{prefix.key}"
        account, secret = self.node.accounts.add_system(by, spelled, [role])
        self.secrets[name] = spelled, secret
        self.tokens[name] = self.node.authenticator.issue(account)[0]


@contextmanager
def served(folder: Path, **given: Any) -> Iterator[Served]:
    """Let a node live at its doors for a while."""
    made = Served(folder, **given)
    made.start()
    try:
        yield made
    finally:
        made.stop()
