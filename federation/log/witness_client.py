"""Having this node's log witnessed: its checkpoint goes there, a cosignature comes back; its entries are mirrored.

Rules:

- the witness decides where to begin: what it answers with 409 is the size it cosigned last, with 424 how many entries
  it has;
- what piled up while it could not be reached goes there in steps, from checkpoint to checkpoint: neither side has to
  deal with all of it at once;
- a cosignature is verified before it is kept;
- a witness that knows a larger log than this node has is believed to be right about it: the database was restored,
  and nothing goes on until the log is rebuilt.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from federation.log.checkpoint import SignedCheckpoint, open_checkpoint, read_size
from federation.log.log_http import Connect, LogHttp, silent
from federation.log.note import NoteKey, parse_signatures
from federation.log.reading import LogReader, bundle
from federation.log.watched import log_digest
from federation.log.witness_request import Status, WitnessRequest, make_request
from federation.log.writer import LogWriter
from registry.errors import ForbiddenError, HazlinkError, MalformedError, UnavailableError, UntrustedError
from resolver.pool import in_pool

__all__ = ["Connect", "WitnessClient", "WitnessPeer", "unbundle"]

_ENTRIES_AT_ONCE = 1_024
#: Leaves behind the checkpoint cosigned last that the next one may cover.
_STEP = 8_192
_MAX_BATCH_BYTES = 1 << 20
_ROUNDS = 4
_OK = 200
_UNAUTHORISED = frozenset({401, 403})
_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class WitnessPeer:
    """A node that witnesses.

    Attributes:
        url: its base URL, as its verified statement says.
        tls_sha256: base64url SHA-256 of its certificate, or None.
        key: the key it cosigns with.
    """

    url: str
    tls_sha256: str | None
    key: NoteKey


def unbundle(raw: bytes) -> list[bytes]:
    """Read an entries bundle.

    Raises:
        MalformedError: it ends in the middle of an entry.
    """
    leaves, at = [], 0
    while at < len(raw):
        end = at + _LENGTH_BYTES + int.from_bytes(raw[at : at + _LENGTH_BYTES], "big")
        if at + _LENGTH_BYTES > len(raw) or end > len(raw):
            raise MalformedError("federation.log.bundle", field="entries")
        leaves.append(raw[at + _LENGTH_BYTES : end])
        at = end
    return leaves


class WitnessClient:
    """The way to one witness.

    Consistency: only what the witness signed is kept. Concurrency: one push at a time. Errors: as each method says.

    Args:
        connect: opens a client for a pin; it refuses forbidden addresses before it connects.
        peer: the witness.
        reader: of this node's log.
        writer: keeps the cosignatures.
        executor: where blocking calls run.
        token: gives the bearer token of the session with that node; None where it needs none.
        step: leaves that go there at a time, where a checkpoint is so near.
    """

    def __init__(
        self,
        *,
        connect: Connect,
        peer: WitnessPeer,
        reader: LogReader,
        writer: LogWriter,
        executor: Executor,
        token: Callable[[], Awaitable[str]] | None = None,
        step: int = _STEP,
    ) -> None:
        self._step = step
        self._http = LogHttp(connect=connect, url=peer.url, tls_sha256=peer.tls_sha256, token=token)
        self._peer = peer
        self._reader = reader
        self._writer = writer
        self._executor = executor
        self._known = 0
        self._cosigned = -1
        self._lock = asyncio.Lock()

    async def push(self) -> int:
        """Have the newest checkpoint cosigned; return its size.

        Raises:
            NotFoundError: there is none yet.
            UntrustedError: the witness has seen another history, or its cosignature does not hold.
            ForbiddenError: it does not know this log, or not this key.
            UnavailableError: it does not answer, or not in a way that makes sense.
        """
        async with self._lock:
            newest = await in_pool(self._executor, self._reader.checkpoint)
            while self._cosigned != newest.size:
                await self._show(newest.size)
            return self._cosigned

    async def _show(self, size: int) -> None:
        """Have the next checkpoint on the way to `size` cosigned."""
        for _ in range(_ROUNDS):
            told = await in_pool(self._executor, self._reader.step, self._known, self._step)
            proof: tuple[bytes, ...] = ()
            if 0 < self._known < told.size:
                proof = await in_pool(self._executor, self._reader.consistency, self._known, told.size)
            request = WitnessRequest(self._known, proof, told.note)
            status, body = await self._http.send("POST", "witness/add-checkpoint", make_request(request))
            if status == Status.COSIGNED:
                await self._keep(told.size, body)
                return
            await self._again(status, body, told.size, size)
        raise UnavailableError("federation.log.witness_rounds", field="witness", value=self._peer.url)

    async def entries(self, first: int) -> list[bytes]:
        """Get entries of this node's log back from the mirror, from `first` on; empty at the end.

        Raises:
            ForbiddenError: the witness mirrors no such log, or the session is not its owner's.
            MalformedError: not an entries bundle.
            UnavailableError: it does not answer.
        """
        path = f"witness/{log_digest(self._writer.key.name)}/entries?from={first}"
        return unbundle(await self._get(path))

    async def checkpoint(self) -> SignedCheckpoint:
        """Get the newest checkpoint of this node's log that the witness cosigned, verified.

        Raises:
            ForbiddenError: it has none.
            MalformedError: not a checkpoint.
            UntrustedError: a signature does not hold.
            UnavailableError: it does not answer.
        """
        raw = await self.view(self._writer.key.name)
        return open_checkpoint(raw, self._writer.key, [self._peer.key])

    async def view(self, origin: str) -> bytes:
        """Get what that node last cosigned of any log: what children compare to expose a fork.

        Raises:
            ForbiddenError: it does not witness that log.
            UnavailableError: it does not answer.
        """
        return await self._get(f"witness/{log_digest(origin)}/checkpoint")

    async def _again(self, status: int, body: bytes, size: int, newest: int) -> None:
        """Do what the answer asks for, so that another try makes sense; or refuse."""
        if status == Status.OTHER_SIZE:
            known = _size(body)
            if known > newest:
                raise UntrustedError("federation.log.witness_ahead", field="size", value=newest, right=known)
            self._known = known
        elif status == Status.MISSING:
            await self._mirror(_size(body), size)
        elif status == Status.UNPROVEN:
            raise UntrustedError("federation.log.witness_refused", field="witness", value=self._peer.url)
        elif status in {Status.UNSIGNED, Status.UNKNOWN, Status.BAD, *_UNAUTHORISED}:
            raise ForbiddenError("federation.log.witness_stranger", field="witness", value=self._peer.url)
        else:
            raise silent(self._peer.url, f"HTTP {status}")

    async def _mirror(self, first: int, size: int) -> None:
        path = f"witness/{log_digest(self._writer.key.name)}/entries"
        stepped_back = False
        while first < size:
            count = min(_ENTRIES_AT_ONCE, size - first)
            leaves = _fitting(await in_pool(self._executor, self._reader.leaves, first, count))
            status, body = await self._http.send("POST", f"{path}?from={first}", bundle(leaves))
            if status not in {_OK, Status.OTHER_SIZE}:
                raise ForbiddenError("federation.log.witness_entries", field="witness", value=self._peer.url)
            have = _size(body)
            # the mirror may have dropped some meanwhile, but not again and again
            if have <= first and (status == _OK or stepped_back):
                raise silent(self._peer.url, f"{have} <= {first}")
            stepped_back = stepped_back or have <= first
            first = have

    async def _keep(self, size: int, body: bytes) -> None:
        try:
            signatures = parse_signatures(body.decode())
        except UnicodeDecodeError:
            raise MalformedError("federation.log.note_form", field="signatures") from None
        await in_pool(self._executor, self._writer.add_cosignatures, size, signatures, [self._peer.key])
        self._known = self._cosigned = size

    async def _get(self, path: str) -> bytes:
        status, body = await self._http.send("GET", path, None)
        if status == _OK:
            return body
        if status in _UNAUTHORISED or status == Status.UNKNOWN:
            raise ForbiddenError("federation.log.witness_stranger", field="witness", value=self._peer.url)
        raise silent(self._peer.url, f"HTTP {status}")


def _fitting(leaves: list[bytes]) -> list[bytes]:
    """Return as many leaves as go into one call, at least one."""
    total, count = 0, 0
    for leaf in leaves:
        total += len(leaf) + _LENGTH_BYTES
        if count and total > _MAX_BATCH_BYTES:
            break
        count += 1
    return leaves[:count]


def _size(body: bytes) -> int:
    try:
        return read_size(body.decode("ascii").removesuffix("\n"), field="size")
    except (UnicodeDecodeError, HazlinkError):
        raise silent("", "size") from None
