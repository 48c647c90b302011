"""`hazlink demo`: the story from four empty folders to the end, and the contract of the nodes that stay up."""

import signal
import socket
import subprocess
import sys

import grpc
import httpx
import orjson
import pytest

from proto import resolver_pb2 as pb
from proto import resolver_pb2_grpc
from tests.support.demo import DEMO_SECONDS, OFFSETS
from tests.support.node import basic
from tests.support.ports import free_ports
from tests.support.processes import PATIENCE, ROOT, environment, until

pytestmark = pytest.mark.slow

TIERS = {"88": "top", "88.107": "secondary", "88.107.1001": "enterprise", "88.107.1002": "enterprise"}


def nobody_listens(base: int) -> bool:
    return all(socket.socket().connect_ex(("127.0.0.1", base + offset)) for offset in OFFSETS)


def test_once_it_tells_the_whole_story_ends_with_status_0_and_leaves_no_process(tmp_path):
    base, shown = free_ports(*OFFSETS), tmp_path / "nodes.json"
    done = subprocess.run(
        [sys.executable, "-m", "node", "demo", "--once", "--base-port", str(base), "--json", str(shown)],
        cwd=ROOT,
        env=environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    assert done.stderr == b""
    assert told.count("✓") >= 23
    assert [node["prefix"] for node in orjson.loads(shown.read_bytes())["nodes"]] == list(TIERS)
    assert nobody_listens(base)
    # without --data nothing stays on the disk
    assert list(tmp_path.iterdir()) == [shown]


def test_it_refuses_ports_and_folders_that_are_taken(tmp_path):
    base = free_ports(*OFFSETS)
    with socket.create_server(("127.0.0.1", base + 10)):
        done = subprocess.run(
            [sys.executable, "-m", "node", "demo", "--once", "--base-port", str(base)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {base + 10} is taken" in done.stderr.decode()
    (tmp_path / "something").touch()
    done = subprocess.run(
        [sys.executable, "-m", "node", "demo", "--once", "--data", str(tmp_path), "--base-port", str(base)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr.decode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["something"]


def test_the_json_file_names_four_nodes_by_the_ports_of_the_contract(demo):
    assert {prefix: node.tier for prefix, node in demo.nodes.items()} == TIERS
    for place, node in enumerate(demo.nodes.values()):
        port = demo.base_port + 10 * place
        assert node.http == f"http://127.0.0.1:{port}"
        assert node.grpc == f"127.0.0.1:{port + 1}"
        assert node.wire is None
        assert node.admin == f"300:0.NA/{node.prefix}"
        assert httpx.get(f"{node.http}/health/ready").json()["status"] == "ready"
    assert demo.json_file.stat().st_mode & 0o077 == 0, "it holds secrets"
    assert set(orjson.loads(demo.json_file.read_bytes())["nodes"][0]) == {
        "prefix", "tier", "http", "grpc", "wire", "admin", "secret",
    }  # fmt: skip


def test_every_pair_of_the_json_file_writes_below_its_own_prefix_and_below_no_other(demo):
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.example"}}
    for node in demo.nodes.values():
        headers = basic(node.admin, node.secret)
        for prefix, status in ((node.prefix, {200, 201}), ("88.107.1003", {401, 403, 404, 400, 421})):
            url = f"{node.http}/api/handles/{prefix}/CONTRACT"
            assert httpx.put(url, json={"values": [value]}, headers=headers).status_code in status, url


def test_what_one_enterprise_registers_the_other_resolves_verified_by_every_door(demo):
    owner, other = demo["88.107.1001"], demo["88.107.1002"]
    name = "88.107.1001/REGISTERED-LATER"
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://later.example"}}
    made = httpx.put(
        f"{owner.http}/api/handles/{name}",
        json={"values": [value]},
        headers=basic(owner.admin, owner.secret),
    )
    assert made.status_code == 201
    assert "later.example" in httpx.get(f"{other.http}/api/handles/{name}").text
    with grpc.insecure_channel(other.grpc) as channel:
        stub = resolver_pb2_grpc.ResolverStub(channel)
        reply = stub.Resolve(pb.ResolveRequest(identifier=name, with_chain=True), timeout=30)
    assert reply.outcome == pb.OUTCOME_FOUND
    assert len(reply.proof.chain) == 3


def test_stopped_half_way_it_takes_its_nodes_along(tmp_path):
    base = free_ports(*OFFSETS)
    process = subprocess.Popen(
        [sys.executable, "-m", "node", "demo", "--data", str(tmp_path / "d"), "--base-port", str(base)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: process.poll() is not None or _is_ready(base), "the top node")
        assert process.poll() is None, "it ended by itself"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
    assert nobody_listens(base)


def _is_ready(port):
    return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
