"""Alarms when a link comes and goes: signs of life, the right of way, and requests that went down with their link.

Rules (facts on federation, (b) "Flow", (f) rows 11 and 17):

- while an alarm waits for a receiver that does not answer, the receiver is asked for a sign of life four times a
  second, each time anew: a question that went into the void holds up no other;
- everything else lets the alarms for the same receiver go first, though never for long: at a link's return they have
  it to themselves;
- an alarm's request that hangs while the link is lost under it is given up as soon as another way through is found,
  for a connection that was cut wakes up late. A slow receiver gives signs of life, and is waited for.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from federation.exchange.client import Peer
from federation.exchange.storage.sending import LaneName
from registry.clock import Clock
from registry.errors import UnavailableError
from registry.identifier import Prefix

__all__ = ["Contact", "RightOfWay", "first_of"]

_T = TypeVar("_T")
_PROBE_SECONDS = 0.25
_LONGEST_SECONDS = 30.0
#: An alarm's request without an answer for so long makes us look whether the link is still there.
_DOUBT_SECONDS = 1.0
#: Nobody waits longer for an alarm on its way, request by request.
_YIELD_SECONDS = 1.0


class Contact:
    """Finds out whether receivers answer. Owner of its tasks: the event loop that uses it.

    Args:
        clock: the time.
        returned: told each receiver that answers again.
    """

    def __init__(self, *, clock: Clock, returned: Callable[[Prefix], None]) -> None:
        self._clock = clock
        self._returned = returned
        self._probing: dict[tuple[Prefix, Prefix], asyncio.Task[None]] = {}

    def look_for(self, name: LaneName, peer: Peer, failures: Callable[[], int]) -> None:
        """Tell when the receiver of a lane answers again.

        Args:
            name: the lane.
            peer: its receiver.
            failures: how often sending failed in a row; 0: nobody needs to know any more.
        """
        key = (name.iss, name.aud)
        running = self._probing.get(key)
        if running is None or running.done():
            self._probing[key] = asyncio.create_task(self._look(name.aud, peer, failures), name="probe")

    async def close(self) -> None:
        """Ask nobody any more."""
        await _ended(*self._probing.values())
        self._probing.clear()

    async def answered(self, peer: Peer, asking: Coroutine[Any, Any, _T]) -> _T:
        """Return what the peer answers.

        Raises:
            UnavailableError: the link was lost meanwhile, and is back.
            HazlinkError: as the question does.
        """
        asked = asyncio.ensure_future(asking)
        found = asyncio.ensure_future(self._lost_and_found(peer))
        try:
            await asyncio.wait({asked, found}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise UnavailableError("federation.exchange_sending.cut_off")
            return asked.result()
        finally:
            await _ended(asked, found)

    async def _look(self, aud: Prefix, peer: Peer, failures: Callable[[], int]) -> None:
        if await peer.alive():
            # there is a link, and the request got lost all the same: not again and again without a pause
            await self._clock.sleep(min(_PROBE_SECONDS * 2 ** min(failures(), 8), _LONGEST_SECONDS))
        else:
            await self._heard(peer, failures)
        if failures():
            self._returned(aud)

    async def _lost_and_found(self, peer: Peer) -> None:
        """Return when the peer was silent and answers again."""
        await self._clock.sleep(_DOUBT_SECONDS)
        while await peer.alive():
            await self._clock.sleep(_DOUBT_SECONDS)
        await self._heard(peer, lambda: 1)

    async def _heard(self, peer: Peer, wanted: Callable[[], int]) -> None:
        """Ask until one of the questions is answered, or nobody wants to know any more."""
        heard = asyncio.Event()
        asked: set[asyncio.Task[None]] = set()

        async def ask() -> None:
            if await peer.alive():
                heard.set()

        try:
            while wanted() and not heard.is_set():
                task = asyncio.create_task(ask(), name="sign of life")
                asked.add(task)
                task.add_done_callback(asked.discard)
                await first_of(heard.wait(), self._clock.sleep(_PROBE_SECONDS))
        finally:
            await _ended(*asked)


class RightOfWay:
    """Who goes first to a receiver. Owner of its state: the event loop that uses it.

    Args:
        clock: the time.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._ahead: dict[Prefix, dict[LaneName, float]] = {}
        self._free: dict[Prefix, asyncio.Event] = {}

    def take(self, name: LaneName) -> None:
        """Go first from now on."""
        self._ahead.setdefault(name.aud, {})[name] = self._clock.monotonic()
        self._free.setdefault(name.aud, asyncio.Event()).clear()

    def leave(self, name: LaneName) -> None:
        """Let the others go on; nothing when the lane did not go first."""
        ahead = self._ahead.get(name.aud, {})
        ahead.pop(name, None)
        if not ahead:
            self._ahead.pop(name.aud, None)
            free = self._free.pop(name.aud, None)
            if free is not None:
                free.set()

    async def give(self, aud: Prefix) -> None:
        """Wait, for a moment at most, while somebody goes first."""
        ahead = self._ahead.get(aud)
        if ahead:
            left = max(ahead.values()) + _YIELD_SECONDS - self._clock.monotonic()
            if left > 0:
                await first_of(self._free[aud].wait(), self._clock.sleep(left))


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of these ends; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _ended(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel these, and wait until they are over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
