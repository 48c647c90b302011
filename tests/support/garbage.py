"""What the tests that feed garbage to a running node share: how they send it, and what a good refusal is."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx

from proto import resolver_pb2
from registry.record import Draft
from registry.value import Value
from tests.support.node import an_admin
from tests.support.served import OWN, Served, served

__all__ = [
    "HANDLE",
    "INSIDE",
    "JSON",
    "NEW",
    "PROTOBUF",
    "REFUSALS",
    "a_batch",
    "called",
    "check_refusal",
    "fed",
    "sent",
    "talked",
]

HANDLE = f"{OWN}/TANK"
NEW = f"/api/handles/{OWN}/NEW"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
#: What no answer may hold: traces, names of files and libraries.
INSIDE = (
    "Traceback",
    'File "',
    ".py",
    "sqlalchemy",
    "sqlite",
    "orjson",
    "pydantic",
    "google.protobuf",
    "errors.pydantic",
)
#: How a call that makes no sense may end.
REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


@contextmanager
def fed(folder: Path, **given: Any) -> Iterator[Served]:
    """Let a node live that holds one record, HANDLE."""
    with served(folder, **given) as made:
        by = an_admin(OWN, name="test@88")
        made.node.registry.register(
            by, Draft(identifier=HANDLE, values=(Value(1, "URL", b"https://a.example"),))
        )
        yield made


def check_refusal(answer: httpx.Response, *statuses: int) -> None:
    """Check that an answer is a refusal, says why in Chinese and in English, and nothing of how we are made."""
    assert answer.status_code in (statuses or range(400, 500)), (answer.status_code, answer.text)
    assert not [word for word in INSIDE if word in answer.text], answer.text
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail_zh"] != problem["detail_en"]
        assert "{" not in problem["detail_en"]
        assert any("\u4e00" <= letter <= "\u9fff" for letter in problem["detail_zh"])
        assert not any("\u4e00" <= letter <= "\u9fff" for letter in problem["detail_en"].split(":")[0])
    elif "json" in answer.headers.get("content-type", ""):
        said = answer.json()
        assert said["responseCode"] != 1
        assert said["message"]
    else:
        # wrong credentials at the Handle API, or a page for people
        assert not answer.content or "html" in answer.headers["content-type"]


def sent(  # noqa: PLR0917 — a request has these parts
    house: Served, role: str, method: str, path: str, body: Any = None, kind: str = "", **more: str
) -> Any:
    headers = house.header(role) | ({"content-type": kind} if kind else {}) | more
    return house.plain.request(method, path, content=body, headers=headers)


def a_batch(count: int, name: str = HANDLE) -> bytes:
    return resolver_pb2.BatchResolveRequest(identifiers=[name] * count).SerializeToString()


def talked(house: Served, data: bytes, *, patience: float = 10.0) -> bytes:
    """Send bytes and return what comes back until the connection is closed, or nothing more comes.

    A server that closes while much is still on its way resets the connection, and what it said may be lost with it.
    """
    host, port = house.http.removeprefix("http://").split(":")
    out = b""
    with socket.create_connection((host, int(port)), timeout=patience) as connection:
        try:
            connection.sendall(data)
            while part := connection.recv(65_536):
                out += part
        except (TimeoutError, ConnectionError):
            pass
    return out


def called(
    house: Served, method: str, data: bytes, metadata: tuple[tuple[str, Any], ...] = ()
) -> tuple[grpc.StatusCode, str, dict[str, bytes]]:
    """Send bytes; return how the call ended, its details and its trailing metadata."""
    call = house.plain_channel.stream_stream(method)(iter([data]), metadata=metadata, timeout=20)
    try:
        next(call, None)
    except grpc.RpcError as error:
        trailing = {item.key: item.value for item in error.trailing_metadata() or ()}
        return error.code(), error.details() or "", trailing
    finally:
        call.cancel()
    return grpc.StatusCode.OK, "", {}
