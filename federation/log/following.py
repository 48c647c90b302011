"""Following another node's log: a subordinate witnesses its superior without anything connecting to it.

It fetches the newest checkpoint, makes the consistency proof itself out of the tiles, has its own witness judge it
as if the log had asked, and brings the cosignature back.
"""

from collections.abc import Sequence
from concurrent.futures import Executor

from federation.log.checkpoint import Checkpoint, open_checkpoint
from federation.log.cosigning import make_cosignatures
from federation.log.log_http import LogHttp, silent
from federation.log.merkle import consistency
from federation.log.note import NoteKey
from federation.log.tiles import TileHashes, TileName, name_of, width_at
from federation.log.witness import Witness
from federation.log.witness_request import Status, WitnessRequest, make_request
from registry.errors import UntrustedError
from resolver.pool import in_pool

__all__ = ["LogFollower", "fetch_consistency"]

_OK = 200


class _WantedError(Exception):
    """Carries the tiles that are needed out of a computation that has none yet."""

    def __init__(self, places: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.places = tuple(places)


async def fetch_consistency(http: LogHttp, old: int, size: int) -> list[bytes]:
    """Make a consistency proof out of another log's tiles; whether it holds is for the caller to verify.

    Raises:
        UnavailableError: a tile does not come, or is too short.
    """

    def ask(places: Sequence[tuple[int, int]]) -> list[bytes]:
        raise _WantedError(places)

    try:
        return consistency(TileHashes(ask), old, size)
    except _WantedError as wanted:
        places = wanted.places
    tiles: dict[tuple[int, int], bytes] = {}
    for level, number in places:
        name = name_of(TileName(number, width_at(size, level, number)))
        status, tiles[level, number] = await http.send("GET", f"log/tile/{level}/{name}")
        if status != _OK:
            raise silent(http.url, f"HTTP {status}")
    try:
        return consistency(TileHashes(lambda asked: [tiles[place] for place in asked]), old, size)
    except KeyError:
        raise silent(http.url, "tile") from None


class LogFollower:
    """Witnesses one log by following it.

    Consistency: as `Witness`. Concurrency: one call at a time. Errors: as said at each method.

    Args:
        http: the node that has the log.
        keys: that may sign for it, as certified; their name is its origin.
        witness: this node's own; it must know the log.
        executor: where blocking calls run.
    """

    def __init__(
        self, *, http: LogHttp, keys: Sequence[NoteKey], witness: Witness, executor: Executor
    ) -> None:
        self._http = http
        self._keys = tuple(keys)
        self._witness = witness
        self._executor = executor

    async def follow(self) -> Checkpoint:
        """Judge and cosign the newest checkpoint, and bring the signature back; return what was cosigned.

        Raises:
            UntrustedError: the log shows another history than before, or a shorter one.
            MalformedError: what it shows is no checkpoint.
            UnavailableError: it does not answer, or takes no signature.
        """
        status, raw = await self._http.send("GET", "log/checkpoint")
        if status != _OK:
            raise silent(self._http.url, f"HTTP {status}")
        told = open_checkpoint(raw, self._keys).checkpoint
        known = await in_pool(self._executor, self._witness.known, told.origin)
        if told.size < known:
            raise UntrustedError("federation.log.shorter", field="size", value=told.size, right=known)
        proof = await fetch_consistency(self._http, known, told.size) if 0 < known < told.size else []
        request = make_request(WitnessRequest(known, tuple(proof), raw))
        answer = await in_pool(self._executor, self._witness.add_checkpoint, request)
        if answer.status != Status.COSIGNED:
            if answer.status == Status.UNPROVEN:
                raise UntrustedError("federation.log.unproven", field="consistency", origin=told.origin)
            raise silent(self._http.url, f"witness {answer.status}")
        status, _ = await self._http.send(
            "POST", "log/cosignatures", make_cosignatures(told.size, answer.body)
        )
        if status != _OK:
            raise silent(self._http.url, f"HTTP {status}")
        return told
