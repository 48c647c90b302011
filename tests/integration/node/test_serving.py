"""Real processes: start, ready, stop, kill -9 and workers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import grpc
import httpx
import pytest

from proto import registry_pb2, registry_pb2_grpc, resolver_pb2, resolver_pb2_grpc
from registry.value import DEFAULT_PERMISSIONS
from tests.support.node import basic

PAIR = "300:0.NA/88"
PATIENCE = 60.0


class Served:
    """One `hazlink serve`."""

    def __init__(self, data: Path, *words: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "node", "serve", "--data", str(data), "--json", *words],
            stdout=subprocess.PIPE,
            stderr=(data / "serve.log").open("ab"),
        )
        told = b""
        while not told.rstrip().endswith(b"}"):
            line = self.process.stdout.readline()
            assert line, (data / "serve.log").read_text()
            told += line
        ready = json.loads(told)
        self.log = data / "serve.log"
        self.url, self.grpc = ready["http"], ready["grpc"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


def until(true, what: str):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.05)
    raise AssertionError(what)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "node"
    words = ("init", "--data", str(folder), "--root", "--prefix", "88", "--json")
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--allow-loopback-peers")
    told = subprocess.run(
        [sys.executable, "-m", "node", *words, *addresses], check=True, capture_output=True
    ).stdout
    (folder / "secret").write_text(json.loads(told)["secret"])
    return folder


def login(data: Path) -> dict[str, str]:
    return basic(PAIR, (data / "secret").read_text())


def put(client: httpx.Client, url: str, name: str, text: str, headers) -> httpx.Response:
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": text}}
    return client.put(f"{url}/api/handles/88/{name}", json={"values": [value]}, headers=headers)


def test_a_node_starts_answers_at_every_door_and_stops_cleanly(data):
    served = Served(data)
    with httpx.Client() as client:
        assert client.get(f"{served.url}/health/ready").json()["status"] == "ready"
        assert put(client, served.url, "A", "https://e.example", login(data)).status_code == 201
    with grpc.insecure_channel(served.grpc) as channel:
        reply = resolver_pb2_grpc.ResolverStub(channel).Resolve(
            resolver_pb2.ResolveRequest(identifier="88/a")
        )
    assert reply.outcome == resolver_pb2.OUTCOME_FOUND
    second = subprocess.run(
        [sys.executable, "-m", "node", "serve", "--data", str(data)], capture_output=True, check=False
    )
    assert second.returncode == 6
    assert str(served.process.pid) in second.stderr.decode()
    assert served.stop() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/health/live")
    assert served.log.read_text() == ""


def test_a_request_under_way_is_finished_before_the_node_stops(data):
    served = Served(data)
    rows = [
        {"index": n, "type": "URL", "data": {"format": "string", "value": "https://e.example/" + "x" * 900}}
        for n in range(1, 60)
    ]
    body = json.dumps({"values": rows}).encode()
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as raw:
        head = f"PUT /api/handles/88/BIG HTTP/1.1\r\nhost: x\r\nauthorization: {login(data)['authorization']}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body[:-10])
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        raw.sendall(body[-10:])
        assert raw.recv(100).startswith(b"HTTP/1.1 201")
    assert served.process.wait(PATIENCE) == 0


def test_after_kill_9_every_acknowledged_write_is_there(data):
    served = Served(data)
    acknowledged = []
    with httpx.Client() as client:
        for number in range(40):
            if (
                put(client, served.url, f"K{number}", f"https://e.example/{number}", login(data)).status_code
                == 201
            ):
                acknowledged.append(number)
    assert served.stop(signal.SIGKILL) == -signal.SIGKILL
    served = Served(data)
    with httpx.Client() as client:
        for number in acknowledged:
            answer = client.get(f"{served.url}/api/handles/88/K{number}")
            assert f"https://e.example/{number}" in answer.text
    assert served.stop() == 0


@pytest.mark.slow
def test_workers_share_the_doors_forward_writes_are_replaced_and_end_with_the_first(data):
    served = Served(data, "--workers", "3")
    until(lambda: served.log.read_text().count("worker ready") == 2, "two workers")
    headers = login(data)
    for number in range(24):
        # A connection each: the kernel spreads them over the processes.
        with httpx.Client() as client:
            assert put(client, served.url, f"W{number}", "https://e.example/1", headers).status_code == 201
            assert "e.example/1" in client.get(f"{served.url}/api/handles/88/W{number}").text
            assert put(client, served.url, f"W{number}", "https://e.example/2", headers).status_code == 200
            assert "e.example/2" in client.get(f"{served.url}/api/handles/88/W{number}").text
    done = Counter()
    for number in range(12):
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(served.grpc, options=options) as channel:
            draft = registry_pb2.Draft(
                identifier=f"88/G{number}",
                values=[
                    resolver_pb2.Value(
                        index=1, type="URL", data=b"x", ttl=60, permissions=DEFAULT_PERMISSIONS
                    )
                ],
            )
            stub = registry_pb2_grpc.RegistryStub(channel)
            request = registry_pb2.RegisterRequest(draft=draft)
            done[stub.Register(request, metadata=[("authorization", headers["authorization"])]).done] += 1
            with pytest.raises(grpc.RpcError) as refused:
                stub.Register(request)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            reply = resolver_pb2_grpc.ResolverStub(channel).Resolve(
                resolver_pb2.ResolveRequest(identifier=f"88/G{number}")
            )
            assert reply.outcome == resolver_pb2.OUTCOME_FOUND
    assert done == {registry_pb2.DONE_CREATED: 12}
    scraped = httpx.get(f"{served.url}/metrics", headers=headers).text
    assert 'status="201"' in scraped

    victim = served.children()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: served.log.read_text().count("worker ready") == 3, "the dead worker's successor")
    assert victim not in served.children()
    assert httpx.get(f"{served.url}/api/handles/88/W1").status_code == 200

    orphans = served.children()
    assert served.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), "workers end with the first")

    again = Served(data, "--workers", "2")
    assert httpx.get(f"{again.url}/api/handles/88/W1").status_code == 200
    workers = again.children()
    assert again.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_doors_speak_tls_with_the_certificate_made_at_init(tmp_path):
    import ssl

    data = tmp_path / "node"
    words = (
        "init",
        "--data",
        str(data),
        "--root",
        "--prefix",
        "88",
        "--tls-self-signed",
        "127.0.0.1",
        "--json",
    )
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    made = subprocess.run([sys.executable, "-m", "node", *words, *addresses], check=True, capture_output=True)
    secret = json.loads(made.stdout)["secret"]
    served = Served(data)
    assert served.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(data / "tls" / "certificate.pem"))
    answer = httpx.get(f"{served.url}/auth/me", headers=basic(PAIR, secret), verify=context)
    assert answer.json()["name"] == PAIR
    roots = (data / "tls" / "certificate.pem").read_bytes()
    with grpc.secure_channel(served.grpc, grpc.ssl_channel_credentials(roots)) as channel:
        request = resolver_pb2.ResolveRequest(identifier="0.NA/88")
        assert resolver_pb2_grpc.ResolverStub(channel).Resolve(request).outcome == resolver_pb2.OUTCOME_FOUND
    assert served.stop() == 0
