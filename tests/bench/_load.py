"""The load generator: one process, one connection kind, a fixed time, one line of JSON.

    python -m tests.bench._load grpc  PORT METHOD --seconds 3 --concurrency 32 --batch 0 --records 10000
    python -m tests.bench._load http  PORT PATH   --seconds 3 --concurrency 32 --records 10000

Identifiers are `<prefix>/R<n>`, walked in a fixed scattered order that visits each once before any comes again.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from math import gcd
from typing import Any

import grpc
import uvloop

from proto import resolver_pb2 as pb

PREFIX = "88.107.1001"


def name_of(number: int) -> str:
    return f"{PREFIX}/R{number:07}"


def scattered(records: int, start: int = 0) -> Iterator[int]:
    """Yield numbers below `records` for ever, far apart from each other, each once in a round."""
    step = max(int(records * 0.6180339887), 1)
    while gcd(step, records) != 1:
        step += 1
    for turn in count(start):
        yield turn * step % records


def grpc_requests(options: Any, most: int = 20_000) -> list[bytes]:
    """Return encoded requests, made ahead so that making them costs the measured time nothing."""
    records, batch, own = options.records, options.batch, options.authoritative
    numbers = scattered(records, options.start)
    if not batch:
        return [
            pb.ResolveRequest(identifier=name_of(next(numbers)), authoritative=own).SerializeToString()
            for _ in range(min(records, most))
        ]
    return [
        pb.BatchResolveRequest(
            identifiers=[name_of(next(numbers)) for _ in range(batch)], authoritative=own
        ).SerializeToString()
        for _ in range(max(min(records, most * 10) // batch, 1))
    ]


async def drive_grpc(port: int, method: str, requests: Sequence[bytes], options: Any) -> dict[str, Any]:
    """Call `method` with raw bytes from `concurrency` tasks until the time is over."""
    limits = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=limits) as channel:
        call = channel.unary_unary(method)

        async def ask(request: bytes) -> int:
            return len(await call(request))

        return await _drive([ask] * options.concurrency, requests, options)


class _Connection(asyncio.Protocol):
    """One keep-alive HTTP connection; reads just enough of an answer to know where it ends."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._buffer = b""
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        headers = self._buffer[:head].lower()
        at = headers.index(b"content-length:") + 15
        end = headers.find(b"\r\n", at)
        size = int(headers[at : end if end >= 0 else None])
        if len(self._buffer) < head + 4 + size or self._answer is None:
            return
        status = headers[9:12]
        self._buffer = b""
        answer, self._answer = self._answer, None
        if status != b"200":
            answer.set_exception(RuntimeError(f"HTTP {status!r}"))
        else:
            answer.set_result(size)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    async def ask(self, request: bytes) -> int:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


def http_requests(records: int, path: str, start: int, most: int = 20_000) -> list[bytes]:
    numbers = scattered(records, start)
    return [
        f"GET {path}{name_of(next(numbers))} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n"
        "user-agent: bench\r\n\r\n".encode()
        for _ in range(min(records, most))
    ]


async def drive_http(port: int, requests: Sequence[bytes], options: Any) -> dict[str, Any]:
    """Send ready requests over `concurrency` connections until the time is over."""
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(_Connection, "127.0.0.1", port))[1] for _ in range(options.concurrency)
    ]
    said = await _drive([connection.ask for connection in connections], requests, options)
    for connection in connections:
        connection.transport.close()
    return said


async def _drive(
    asks: Sequence[Callable[[bytes], Any]], requests: Sequence[bytes], options: Any
) -> dict[str, Any]:
    total = len(requests)
    turn = count()
    received = 0
    if options.warm:
        for request in requests[: options.warm]:
            await asks[0](request)
    started = time.perf_counter()
    deadline = started + options.seconds
    calls = 0

    async def work(ask: Callable[[bytes], Any]) -> None:
        nonlocal calls, received
        while time.perf_counter() < deadline:
            received += await ask(requests[next(turn) % total])
            calls += 1

    await asyncio.gather(*[work(ask) for ask in asks])
    took = time.perf_counter() - started
    return {
        "calls": calls,
        "seconds": took,
        "rate": calls / took,
        "bytes_per_answer": received / max(calls, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["grpc", "http"])
    parser.add_argument("port", type=int)
    parser.add_argument("where")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--authoritative", action="store_true", help="ask for the owner's own word")
    parser.add_argument("--warm", type=int, default=0, help="calls made before the time starts")
    options = parser.parse_args()
    if options.kind == "grpc":
        requests = grpc_requests(options)
        said = asyncio.run(drive_grpc(options.port, options.where, requests, options))
    else:
        uvloop.install()
        requests = http_requests(options.records, options.where, options.start)
        said = asyncio.run(drive_http(options.port, requests, options))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
