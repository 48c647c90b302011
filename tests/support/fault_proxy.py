"""A bad network between two real nodes: an HTTP proxy on loopback that loses, doubles, holds back, drips and cuts.

    with FaultProxy(port_of_the_receiver, seed=7) as proxy:
        proxy.weather = Weather(lose=0.3, double=0.1, late=0.1, cut=0.05, drip=0.02)
        proxy.part(silent=True); ...; proxy.rejoin()

What becomes of a request depends on the seed, its method, its path and how many came to that path before, and on
nothing else: the same seed makes the same weather for each path, whatever else goes on beside it. Requests are read
whole, so that one that is lost "after" has really been answered. Plain HTTP/1.1 only, as between nodes on loopback.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Self, TypeVar

__all__ = ["Fate", "FaultProxy", "Message", "Weather"]

_T = TypeVar("_T")
_MOST_HEAD = 65_536
#: A request held back goes on after so many others of its path, or after so many seconds.
_OTHERS, _HELD_SECONDS = 3, 2.0
_PATIENCE_SECONDS = 30.0
_NO_BODY = frozenset({"204", "304"})


class Fate(StrEnum):
    """What becomes of a request."""

    PASSED = "passed"
    LOST_BEFORE = "lost before it reached the receiver"
    LOST_AFTER = "answered, the answer lost"
    DOUBLED = "doubled"
    LATE = "held back behind others"
    CUT = "cut in the middle of the answer"
    DRIPPED = "one byte a second"


@dataclass(frozen=True, slots=True)
class Weather:
    """Shares of the requests, each from 0 to 1, together at most 1; what is left passes.

    Attributes:
        lose: lost, half of them before they reach the receiver and half after.
        double: given to the receiver twice.
        late: the sender sees its connection break; the receiver gets the request later, behind others.
        cut: the answer breaks off in its middle.
        drip: request and answer go at `bytes_per_second`.
        bytes_per_second: of what drips.
    """

    lose: float = 0.0
    double: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    drip: float = 0.0
    bytes_per_second: float = 1.0

    def fate(self, chance: float) -> Fate:
        """Return what becomes of a request that drew this chance (0 <= chance < 1)."""
        shares = (
            (Fate.LOST_BEFORE, self.lose / 2),
            (Fate.LOST_AFTER, self.lose / 2),
            (Fate.DOUBLED, self.double),
            (Fate.LATE, self.late),
            (Fate.CUT, self.cut),
            (Fate.DRIPPED, self.drip),
        )
        for fate, share in shares:
            if chance < share:
                return fate
            chance -= share
        return Fate.PASSED


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer, as it came.

    Attributes:
        first: its first line.
        raw: head and body, byte for byte.
        body: the body without the marks of its chunks.
        closes: the connection ends behind it.
    """

    first: str
    raw: bytes
    body: bytes
    closes: bool

    @property
    def method(self) -> str:
        return self.first.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path of a request, without its query."""
        return self.first.split(" ")[1].partition("?")[0]


class FaultProxy:
    """Passes requests to one port of 127.0.0.1, as well as its weather lets it; runs in a thread of its own.

    Args:
        target: the port of the receiver.
        port: its own; 0: any.
        seed: of the weather.
        on_answer: told every request with its answer, also when the sender never gets it. Called in the proxy's
            thread.
    """

    def __init__(
        self,
        target: int,
        *,
        port: int = 0,
        seed: int = 0,
        on_answer: Callable[[Message, Message], None] | None = None,
    ) -> None:
        self.weather = Weather()
        self.fates: Counter[Fate] = Counter()
        self.port = port
        self._target = target
        self._seed = seed
        self.on_answer = on_answer
        self._seen: Counter[tuple[str, str]] = Counter()
        self._held: dict[tuple[str, str], list[asyncio.Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_SECONDS)

    def part(self, *, silent: bool) -> None:
        """Part both sides: `silent` swallows everything and says nothing; otherwise connections are refused."""
        self._call(self._part(silent))

    def rejoin(self) -> None:
        """End the partition. The weather is what it was."""
        self._call(self._rejoin())

    # inside: the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _call(self, doing: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(_PATIENCE_SECONDS)

    async def _listen(self) -> None:
        if self._open is None:
            self._open = asyncio.Event()
            self._open.set()
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", self.port, limit=_MOST_HEAD, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._break_all()

    async def _break_all(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _part(self, silent: bool) -> None:
        assert self._open is not None
        self._open.clear()
        if not silent and self._server is not None:
            self._server.close()
            self._server = None
            await self._break_all()

    async def _rejoin(self) -> None:
        assert self._open is not None
        if self._server is None:
            await self._listen()
        self._open.set()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, EOFError, _GoneError, asyncio.LimitOverrunError):
                while await self._one(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            # without a farewell: what was not delivered is lost
            writer.transport.abort()

    # inside: one request

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Handle the next request of a connection; False ends the connection."""
        request = await _read(reader)
        if request is None:
            return False
        await self._while_parted(reader)
        place = (request.method, request.path)
        fate = self.fate(place)
        self._passes(place)
        match fate:
            case Fate.LOST_BEFORE:
                return False
            case Fate.LATE:
                self._hold(place, request)
                return False
            case Fate.DOUBLED:
                await self._asked(request)
        drip = self.weather.bytes_per_second if fate is Fate.DRIPPED else None
        answer = await _or_gone(reader, self._asked(request, drip)) if drip else await self._asked(request)
        if answer is None or fate is Fate.LOST_AFTER:
            return False
        await self._while_parted(reader)
        shown = answer.raw[: len(answer.raw) // 2] if fate is Fate.CUT else answer.raw
        await _written(writer, shown, drip)
        return fate is not Fate.CUT and not answer.closes and not request.closes

    def fate(self, place: tuple[str, str]) -> Fate:
        """Return what becomes of the next request of this method to this path; the seed decides."""
        number = self._seen[place]
        self._seen[place] += 1
        fate = self.weather.fate(Random(f"{self._seed} {place} {number}").random())
        self.fates[fate] += 1
        return fate

    async def _while_parted(self, reader: asyncio.StreamReader) -> None:
        assert self._open is not None
        if not self._open.is_set():
            # whoever gives up meanwhile takes his request with him, and the memory it holds
            await _or_gone(reader, self._open.wait())

    async def _asked(self, request: Message, drip: float | None = None) -> Message | None:
        """Ask the receiver; None when it does not answer."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target, limit=_MOST_HEAD)
        except OSError:
            return None
        try:
            await _written(writer, request.raw, drip)
            answer = await _read(reader, to=request.method)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            return None
        finally:
            writer.transport.abort()
        if answer is not None and self.on_answer is not None:
            self.on_answer(request, answer)
        return answer

    def _hold(self, place: tuple[str, str], request: Message) -> None:
        gone = asyncio.Event()
        self._held.setdefault(place, []).append(gone)

        async def deliver() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), _HELD_SECONDS)
            if gone in self._held.get(place, ()):
                self._held[place].remove(gone)
            assert self._open is not None
            await self._open.wait()
            await self._asked(request)

        task = asyncio.create_task(deliver())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _passes(self, place: tuple[str, str]) -> None:
        """Let go of what was held back long enough: a few others of its path have overtaken it."""
        held = self._held.get(place)
        if held and self._seen[place] % _OTHERS == 0:
            held.pop(0).set()


class _GoneError(Exception):
    """Whoever asked does not wait any more."""


async def _or_gone(reader: asyncio.StreamReader, doing: Coroutine[Any, Any, _T]) -> _T:
    """Do something for as long as whoever asked still holds the connection."""
    work = asyncio.ensure_future(doing)
    # nothing may come before the answer: a byte or the end is the end
    watch = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise _GoneError
        return work.result()
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)


async def _written(writer: asyncio.StreamWriter, raw: bytes, bytes_per_second: float | None) -> None:
    if bytes_per_second is None:
        writer.write(raw)
        await writer.drain()
        return
    for place in range(len(raw)):
        writer.write(raw[place : place + 1])
        await writer.drain()
        await asyncio.sleep(1 / bytes_per_second)


async def _read(reader: asyncio.StreamReader, *, to: str | None = None) -> Message | None:
    """Read one message whole; None at the end of the connection. `to`: the method it answers."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *rest = head.decode("latin-1").split("\r\n")
    named = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    closes = named.get("connection", "").lower() == "close"
    if "chunked" in named.get("transfer-encoding", "").lower():
        raw, body = await _chunks(reader)
    elif "content-length" in named:
        raw = body = await reader.readexactly(int(named["content-length"]))
    elif to is None or to == "HEAD" or first.split(" ")[1] in _NO_BODY:
        raw = body = b""
    else:
        raw = body = await reader.read()
        closes = True
    return Message(first, head + raw, body, closes)


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    raw, body = bytearray(), bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        part = await reader.readexactly(size + 2) if size else b""
        raw += line + part
        body += part[:-2]
        if not size:
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                raw += line
            raw += line
            return bytes(raw), bytes(body)
