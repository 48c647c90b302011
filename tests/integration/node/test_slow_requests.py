"""What is no HTTP, and what never comes: the door neither breaks nor waits for ever."""

import json
import time

import pytest

import node.doors
import node.edge
from registry.clock import SystemClock
from tests.support.garbage import (
    fed,
    sent,
    talked,
)
from tests.support.served import ANONYMOUS, served


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with fed(tmp_path_factory.mktemp("garbage")) as made:
        yield made


LINES = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "no version": b"GET /\r\n\r\n",
    "a foreign version": b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a broken header": b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
    "two lengths": b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length that is none": b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: two\r\n\r\n{}",
    "length and chunks": (
        b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a broken chunk": b"POST /auth/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("line", LINES)
def test_what_is_no_http_is_refused_and_the_door_stays_open(house, line):
    answer = talked(house, LINES[line], patience=5.0)
    reset = not answer and len(LINES[line]) > 65_536
    assert reset or answer.split(b" ")[1][:1] == b"4", answer[:200]
    assert b"Traceback" not in answer
    assert sent(house, ANONYMOUS, "GET", "/health/live").status_code == 200


@pytest.fixture
def hurried(tmp_path, monkeypatch):
    monkeypatch.setattr(node.edge, "_BODY_SECONDS", 0.2)
    monkeypatch.setattr("resolver.hot_routes._BODY_SECONDS", 0.1)
    monkeypatch.setattr(node.doors, "_HEAD_SECONDS", 0.2)
    with served(tmp_path / "hurried") as made:
        yield made


@pytest.mark.parametrize(
    "head",
    [
        b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
        b"POST /resolver/v1/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\nx",
        b"PUT /api/handles/88.107.1001/X HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-slow: ",
        b"GET /health",
        b"",
    ],
    ids=["body", "batch", "chunk", "header", "path", "a dash"],
)
def test_a_request_that_does_not_come_is_not_waited_for(hurried, head):
    began = SystemClock().monotonic()
    answer = talked(hurried, head, patience=10.0)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert SystemClock().monotonic() - began < 5
    if b"\r\n\r\n" in head:
        said = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert "message" in said or said["status"] == 408


def test_whoever_asks_now_and_then_on_one_connection_is_served(hurried):
    for _ in range(6):
        assert hurried.plain.get("/health/live").status_code == 200
        time.sleep(0.15)
