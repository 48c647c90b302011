"""`serve --workers 2`: two processes behind the same ports, which look like one from outside."""

import json
import os
import signal
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from proto import registry_pb2 as rpb
from proto import resolver_pb2 as pb
from proto import resolver_pb2_grpc
from registry.value import DEFAULT_PERMISSIONS
from tests.support.ports import free_port
from tests.support.processes import Served, a_top_folder, put, until

pytestmark = pytest.mark.slow

GRACE_SECONDS = 4.0


@pytest.fixture
def started(tmp_path):
    folder = tmp_path / "node"
    login = a_top_folder(folder)
    ports = ("--http-port", str(free_port()), "--grpc-port", str(free_port()))
    settings = {"HAZLINK_DOORS__STOP_GRACE_SECONDS": str(GRACE_SECONDS), "HAZLINK_LOGS__LEVEL": "info"}
    with Served(folder, "--workers", "2", *ports, **settings) as served:
        until(lambda: workers_ready(served) == 1, "the worker")
        yield served, login


def workers_ready(served):
    return served.log.read_text().count("worker ready")


def port_of(address):
    return int(address.rpartition(":")[2])


def holders(served, address):
    """Return {port of the client: process} of the connections that the node's processes hold at a door."""
    door = port_of(address)
    return {
        connection.raddr.port: pid
        for pid in (served.process.pid, *served.children())
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == door
    }


@contextmanager
def an_http_client_of_each_process(served):
    """Yield {pid: client}, each with one connection that stays with its process."""
    with ExitStack() as stack:
        found: dict[int, httpx.Client] = {}

        def one_more():
            client = stack.enter_context(served.new_client())
            answer = client.get("/health/live")
            mine = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
            pid = holders(served, served.url).get(mine)
            if pid is not None:
                found.setdefault(pid, client)
            return len(found) == 2

        until(one_more, "a connection to each process", pause=0)
        yield found


@contextmanager
def a_grpc_channel_of_each_process(served):
    with ExitStack() as stack:
        found = {}

        def one_more():
            before = set(holders(served, served.grpc))
            channel = stack.enter_context(served.new_channel())
            resolver_pb2_grpc.ResolverStub(channel).Resolve(pb.ResolveRequest(identifier="88/NONE"))
            new = {port: pid for port, pid in holders(served, served.grpc).items() if port not in before}
            if len(new) == 1:
                found.setdefault(next(iter(new.values())), channel)
            return len(found) == 2

        until(one_more, "a channel to each process", pause=0)
        yield found


def seconds_until(true):
    began = time.monotonic()
    until(true, "seen by every process", patience=30, pause=0.005)
    return time.monotonic() - began


def grpc_text(channel, identifier):
    reply = resolver_pb2_grpc.ResolverStub(channel).Resolve(pb.ResolveRequest(identifier=identifier))
    return reply.record.values[0].data.decode() if reply.outcome == pb.OUTCOME_FOUND else ""


def a_draft(identifier, text):
    value = pb.Value(index=1, type="URL", data=text.encode(), ttl=60, permissions=DEFAULT_PERMISSIONS)
    return rpb.Draft(identifier=identifier, values=[value])


def test_a_write_by_any_door_of_any_process_is_seen_by_every_door_of_every_process(started):
    served, login = started
    took = []
    with an_http_client_of_each_process(served) as http, a_grpc_channel_of_each_process(served) as rpc:
        assert set(http) == set(rpc) == {served.process.pid, *served.children()}
        for turn in range(6):
            name = f"88/SEEN-{turn}"
            writers = [lambda t, c=c, n=name: put(c, n, t, login).raise_for_status() for c in http.values()]
            writers += [lambda t, c=c, n=name: register(c, n, t, login) for c in rpc.values()]
            for number, write in enumerate(writers):
                text = f"https://e.example/{turn}/{number}"
                write(text)
                began = time.monotonic()
                for client in http.values():
                    seconds_until(lambda c=client, n=name, t=text: t in c.get(f"/api/handles/{n}").text)
                for channel in rpc.values():
                    seconds_until(lambda c=channel, n=name, t=text: grpc_text(c, n) == t)
                took.append(time.monotonic() - began)
    median, most = statistics.median(took), max(took)
    print(
        f"seen by both doors of both processes: median {median * 1000:.0f} ms, slowest {most * 1000:.0f} ms"
    )
    assert median < 1.0
    assert most < 3.0


def register(channel, identifier, text, login):
    asked = rpb.RegisterRequest(draft=a_draft(identifier, text), if_present=rpb.IF_PRESENT_REPLACE)
    done = Served.stub(channel).Register(asked, metadata=login.metadata).done
    assert done in {rpb.DONE_CREATED, rpb.DONE_CHANGED}


def test_whoever_writes_reads_his_own_write_at_once_in_the_same_process(started):
    served, login = started
    with an_http_client_of_each_process(served) as http:
        for pid, client in http.items():
            for number in range(10):
                put(client, f"88/OWN-{pid}", f"https://e.example/{number}", login).raise_for_status()
                assert f"e.example/{number}" in client.get(f"/api/handles/88/OWN-{pid}").text


def test_a_killed_worker_comes_back_while_the_first_goes_on(started):
    served, login = started
    put(served.client, "88/STAYS", "https://e.example/stays", login).raise_for_status()
    [victim] = served.children()
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    refused = 0

    def all_is_well():
        nonlocal refused
        try:
            with served.new_client() as client:
                assert "e.example/stays" in client.get("/api/handles/88/STAYS").text
        except httpx.TransportError:
            # a connection that the kernel had given to the dying process
            refused += 1
        return workers_ready(served) == 2

    until(all_is_well, "the successor", pause=0.02)
    print(f"a successor {time.monotonic() - began:.1f} s after the death; {refused} connections lost")
    assert refused <= 2
    [successor] = served.children()
    assert successor != victim
    with an_http_client_of_each_process(served) as http, a_grpc_channel_of_each_process(served) as rpc:
        assert set(http) == set(rpc) == {served.process.pid, successor}
        put(http[successor], "88/STAYS", "https://e.example/again", login).raise_for_status()
        assert grpc_text(rpc[successor], "88/STAYS") == "https://e.example/again"


@pytest.mark.parametrize("whom", ["the first process", "every process"])
def test_sigterm_answers_what_is_under_way_and_ends_everything_within_the_grace(started, whom):
    """`every process`: as systemd and a terminal do it."""
    served, login = started
    first, [worker] = served.process.pid, served.children()
    rows = [
        {"index": n, "type": "URL", "data": {"format": "string", "value": "https://e.example/" + "x" * 500}}
        for n in range(1, 60)
    ]
    body = json.dumps({"values": rows}).encode()
    with ExitStack() as stack:
        raws: dict[int, socket.socket] = {}

        def one_more():
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(served.url)), 60))
            head = (
                f"PUT /api/handles/88/LATE-{raw.getsockname()[1]} HTTP/1.1\r\nhost: x\r\n"
                f"authorization: {login.headers['authorization']}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            raw.sendall(head.encode() + body[:-10])
            pid = until(
                lambda: holders(served, served.url).get(raw.getsockname()[1]), "the connection is taken"
            )
            if raws.setdefault(pid, raw) is not raw:
                raw.close()
            return len(raws) == 2

        until(one_more, "a request under way in each process", pause=0)
        channels = stack.enter_context(a_grpc_channel_of_each_process(served))
        asked = [
            rpb.BatchRegisterRequest(drafts=[a_draft(f"88/LATE-{pid}-{n}", "x") for n in range(2_000)])
            for pid in channels
        ]
        idle = stack.enter_context(served.new_client())
        assert idle.get("/health/live").status_code == 200
        calls = [
            Served.stub(channel).BatchRegister.future(batch, metadata=login.metadata, timeout=60)
            for channel, batch in zip(channels.values(), asked, strict=True)
        ]
        time.sleep(0.3)
        began = time.monotonic()
        for pid in (first,) if whom == "the first process" else (worker, first):
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)
        for raw in raws.values():
            raw.sendall(body[-10:])
        for raw in raws.values():
            answer = raw.recv(2_000)
            assert answer.startswith(b"HTTP/1.1 201"), answer
        for call in calls:
            results = call.result(60).results
            assert len(results) == 2_000
            assert {result.done for result in results} == {rpb.DONE_CREATED}
        assert served.process.wait(60) == 0
    took = time.monotonic() - began
    print(f"SIGTERM to {whom}: all answered, all ended after {took:.1f} s")
    assert took < GRACE_SECONDS + 3
    assert not Path(f"/proc/{worker}").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/health/live")
    assert "worker ended" not in served.log.read_text()
    # and what was acknowledged is there
    served.start()
    for pid, raw_port in ((pid, None) for pid in channels):
        assert raw_port is None
        assert served.resolve(f"88/LATE-{pid}-1999").outcome == pb.OUTCOME_FOUND


def test_a_watcher_who_never_goes_holds_the_stop_up_for_one_grace_only(started):
    served, login = started
    with a_grpc_channel_of_each_process(served) as channels, ThreadPoolExecutor(2) as pool:
        heard = []

        def watch(channel):
            stub = resolver_pb2_grpc.ResolverStub(channel)
            for change in stub.Watch(pb.WatchRequest(prefix="88"), metadata=login.metadata):
                heard.append(change)

        watching = [pool.submit(watch, channel) for channel in channels.values()]
        put(served.client, "88/WATCHED", "https://e.example", login).raise_for_status()
        until(lambda: len(heard) == 2 or any(w.done() for w in watching), "both watchers heard it")
        assert len(heard) == 2
        began = time.monotonic()
        assert served.stop() == 0
        took = time.monotonic() - began
        for failed in watching:
            assert failed.exception(30) is not None
    print(f"with a watcher at each process: ended after {took:.1f} s")
    assert took < GRACE_SECONDS + 3
