"""One node of the demonstration: a data folder, a process that serves it, and the command line for its operator."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from registry.errors import HazlinkError, UnavailableError

__all__ = ["DemoNode", "StoryError"]

_COMMAND_SECONDS = 120
_READY_SECONDS = 60
_STOP_SECONDS = 30
_OK = 200


class StoryError(HazlinkError):
    """A step of the story did not come out as it should."""


@dataclass
class DemoNode:
    """A node in its own process.

    Attributes:
        prefix: what it is delegated.
        tier: `top`, `secondary` or `enterprise`.
        folder: its data folder.
        port: HTTP port; gRPC listens on the next one.
        admin, secret: its Handle pair, once it has one.
    """

    prefix: str
    tier: str
    folder: Path
    port: int
    admin: str = ""
    secret: str = field(default="", repr=False)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def http(self) -> str:
        """Base URL of the HTTP doors."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc(self) -> str:
        """Target of the gRPC doors."""
        return f"127.0.0.1:{self.port + 1}"

    def require_ports(self) -> None:
        """Make sure that whoever answers at this node's ports later on is this node.

        Raises:
            StoryError: a port is taken.
        """
        for port in (self.port, self.port + 1):
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError as error:
                raise StoryError("node.demo.port_taken", port=port, reason=error.strerror) from error

    def command(self, *words: str, accept: tuple[int, ...] = (0,)) -> Any:
        """Run a command on this node's data folder and return what it prints as JSON.

        Raises:
            StoryError: it ended with another exit code, or printed no JSON.
        """
        done = subprocess.run(  # noqa: S603 — our own program with fixed words
            [sys.executable, "-m", "node", *words, "--data", str(self.folder), "--json"],
            capture_output=True,
            env=_environment(),
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode not in accept:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise StoryError("node.demo.command", words=" ".join(words), code=done.returncode, said=said)
        return orjson.loads(done.stdout) if done.stdout.strip() else None

    def verdict(self, *words: str) -> Any:
        """Run a command that needs no data folder; return its JSON, whatever its exit code."""
        done = subprocess.run(  # noqa: S603 — our own program with fixed words
            [sys.executable, "-m", "node", *words],
            capture_output=True,
            env=_environment(),
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return orjson.loads(done.stdout)

    def plain_command(self, *words: str) -> None:
        """Run a command that prints nothing to read.

        Raises:
            StoryError: it failed.
        """
        done = subprocess.run(  # noqa: S603 — our own program with fixed words
            [sys.executable, "-m", "node", *words, "--data", str(self.folder)],
            capture_output=True,
            env=_environment(),
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise StoryError("node.demo.command", words=" ".join(words), code=done.returncode, said=said)

    def start(self) -> None:
        """Start serving and wait until the node says it is ready.

        Raises:
            StoryError: it ended or did not become ready in a minute; the end of its log is in the message.
        """
        log = self.folder / "serve.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 — our own program with fixed words
                [sys.executable, "-m", "node", "serve", "--data", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
            )
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if httpx.get(f"{self.http}/health/ready", timeout=2, trust_env=False).status_code == _OK:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        tail = log.read_bytes()[-2000:].decode(errors="replace")
        raise StoryError("node.demo.not_ready", prefix=self.prefix, said=tail)

    def stop(self) -> None:
        """Ask the process to stop and wait for it; kill it when it does not.

        Raises:
            StoryError: it had to be killed.
        """
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise StoryError("node.demo.not_stopped", prefix=self.prefix) from None

    def kill(self) -> None:
        """End the process without a word: `kill -9`."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def get(self, path: str, *, auth: bool = False, **headers: str) -> httpx.Response:
        """Ask the HTTP door.

        Raises:
            UnavailableError: the node does not answer.
        """
        return self.ask("GET", path, auth=auth, headers=headers)

    def ask(
        self,
        method: str,
        path: str,
        *,
        auth: bool = False,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> httpx.Response:
        """Ask the HTTP door with any method.

        Raises:
            UnavailableError: the node does not answer.
        """
        pair = (self.admin.replace(":", "%3A"), self.secret) if auth else None
        try:
            return httpx.request(
                method,
                self.http + path,
                headers=dict(headers or {}),
                json=json,
                auth=pair,
                timeout=30,
                trust_env=False,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            raise UnavailableError("node.demo.silent", prefix=self.prefix, reason=str(error)) from error

    def form(self) -> dict[str, Any]:
        """Return what `--json` tells others about this node; the wire door comes with a later release."""
        return {
            "prefix": self.prefix,
            "tier": self.tier,
            "http": self.http,
            "grpc": self.grpc,
            "wire": None,
            "admin": self.admin,
            "secret": self.secret,
        }


def _environment() -> dict[str, str]:
    """The caller's environment without settings that would change the nodes."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HAZLINK_")}
