"""The way to a receiver in another node: HTTPS, in the name of one prefix.

Rules (ADR 8; facts on federation, (b) "Transport"):

- a session is opened with the chain of the sender's prefix and a proof of its key, for one prefix over there; the
  token goes to that node alone, and is renewed before it ends, when it is refused, and with every new fence;
- the answers are words of a stranger: each line is read strictly, and counts only once its receipt is verified.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import orjson

from federation.exchange.asking import Asker, Connect, Reply, Request, is_good, refusal
from federation.exchange.config import ExchangeConfig
from federation.exchange.reaching import Reach
from federation.exchange.receipt import Line
from federation.exchange.sealing import Speakers
from registry.clock import Clock
from registry.errors import HazlinkError, MalformedError
from registry.identifier import Prefix
from registry.trust import strict_json
from registry.trust.claims import Claims
from registry.trust.encoding import b64u
from registry.trust.possession import make_possession
from resolver.pool import in_pool

__all__ = ["Connect", "Copy", "HttpPeer", "Peer"]

#: Which copy of this node speaks: its instance (16 bytes) and its fencing number.
Copy: TypeAlias = Callable[[], tuple[bytes, int]]

_NDJSON = "application/x-ndjson"
_JSON = "application/json"
_BYTES = "application/octet-stream"
_UNAUTHENTICATED = 401
_MAX_TOKEN = 8_192
#: A session is renewed when this part of its life is left.
_LEFT = 0.2
_PROBE_SECONDS = 2.0


class Peer(Protocol):
    """A receiver of envelopes.

    Consistency: none; whatever it says is verified by the caller. Durability: a final receipt stands for durability
    over there. Concurrency: any number of tasks of one event loop. Errors: UnavailableError for whatever may pass,
    with `retry_after` where it was said; otherwise the refusal of the whole request as the kind of error it is.
    Whatever it is, the same envelopes may be sent again.
    """

    async def send(self, stream: str, tokens: Sequence[bytes]) -> list[Line]:
        """Send envelopes in order; one line back for each, or fewer when the peer stopped.

        A refusal of the whole request is one line, unsigned.
        """
        ...

    async def send_alone(self, stream: str, epoch: int, seq: int, token: bytes) -> list[Line]:
        """Send one envelope to the URL of its own number, for a receiver that could not read where it stands."""
        ...

    async def put_body(self, stream: str, sha256: bytes, data: bytes) -> None:
        """Hand over a detached body before its envelope."""
        ...

    async def introduce(self, chain: Sequence[str]) -> None:
        """Show a whole chain, so that envelopes that only name it are understood."""
        ...

    async def announce(self, stream: str, statement: str, countersigned: str) -> None:
        """Show the countersigned announcement of an epoch."""
        ...

    async def alive(self) -> bool:
        """Say whether the peer answers at all; cheap, and never raises."""
        ...


@dataclass(slots=True)
class _Session:
    token: str = ""
    ends: float = 0.0
    fence: int = -1
    understands: Mapping[str, list[str]] = field(default_factory=dict)
    credit: int | None = None


class HttpPeer:
    """A node above, spoken to in the name of one prefix; implements `Peer`.

    Owner of the session and of the open connections: the event loop that uses it.
    """

    def __init__(
        self,
        *,
        iss: Prefix,
        aud: Prefix,
        reach: Callable[[], Reach | None],
        connect: Connect,
        speakers: Speakers,
        copy: Copy,
        clock: Clock,
        executor: Executor,
        config: ExchangeConfig,
    ) -> None:
        """Take the parts.

        Args:
            iss: who speaks.
            aud: the prefix spoken to.
            reach: where it is now.
            connect: opens a client for a certificate pin.
            speakers: the keys and chains of this node.
            copy: which copy of this node this is.
            clock: the time.
            executor: for what blocks: keys and the mark file.
            config: limits.
        """
        self._iss = iss
        self._aud = aud
        self._speakers = speakers
        self._copy = copy
        self._clock = clock
        self._executor = executor
        self._session = _Session()
        self._login = asyncio.Lock()
        #: Seconds by which the peer's clock was ahead of ours when the session was opened.
        self.skew = 0.0
        self._asker = Asker(reach=reach, connect=connect, executor=executor, config=config, name=aud.key)

    @property
    def understands(self) -> Mapping[str, list[str]]:
        """Type → schemas the peer said it has handlers for, at the last session."""
        return self._session.understands

    @property
    def credit(self) -> int | None:
        """Envelopes the peer takes in one batch, as it said at the last session."""
        return self._session.credit

    async def send(self, stream: str, tokens: Sequence[bytes]) -> list[Line]:
        """Send envelopes in order; one line back for each, or fewer. A refused request is one line.

        Raises:
            HazlinkError: as `Peer` says.
        """
        path, body = f"exchange/{stream}", b"\n".join(tokens) + b"\n"
        reply = await self._answered("POST", path, stream, (body, _NDJSON, None))
        if not is_good(reply):
            return [_one_line(path, reply)]
        return [Line.decode(line) for line in reply.lines()[: len(tokens)]]

    async def send_alone(self, stream: str, epoch: int, seq: int, token: bytes) -> list[Line]:
        """Send one envelope to the URL of its own number; the answer's status is that of its line.

        Raises:
            HazlinkError: as `Peer` says.
        """
        path = f"exchange/{stream}/{epoch}/{seq}"
        reply = await self._answered("POST", path, stream, (token, _NDJSON, None))
        lines = reply.lines()
        if not is_good(reply) and not _is_line(lines):
            return [_one_line(path, reply)]
        return [Line.decode(line) for line in lines[:1]]

    async def put_body(self, stream: str, sha256: bytes, data: bytes) -> None:
        """Hand over a detached body.

        Raises:
            HazlinkError: as `Peer` says.
        """
        path = f"exchange/bodies/{b64u(sha256)}"
        await self.ask("PUT", path, channel=stream, content=data, media=_BYTES)

    async def introduce(self, chain: Sequence[str]) -> None:
        """Open a session anew, showing this chain.

        Raises:
            HazlinkError: as `Peer` says.
        """
        async with self._login:
            await self._open("introduction", tuple(chain))

    async def announce(self, stream: str, statement: str, countersigned: str) -> None:
        """Show the countersigned announcement of an epoch.

        Raises:
            HazlinkError: as `Peer` says.
        """
        form = orjson.dumps({"statement": statement, "countersignature": countersigned})
        await self.ask("POST", "exchange/epochs", channel=stream, content=form)

    async def alive(self) -> bool:
        """Say whether the peer answers at all."""
        try:
            await self._asker.ask(Request("GET", "health/live", "probe", seconds=_PROBE_SECONDS))
        except HazlinkError:
            return False
        return True

    async def ask(
        self,
        method: str,
        path: str,
        *,
        channel: str,
        content: bytes | None = None,
        media: str = _JSON,
        seconds: float | None = None,
    ) -> Reply:
        """Ask within the session; a session that is refused is opened anew, once.

        Args:
            method: of HTTP.
            path: below the base URL.
            channel: requests of one channel share connections, others never wait for them.
            content: the body.
            media: its type.
            seconds: for the whole exchange; the configured ones when not said.

        Raises:
            HazlinkError: as `Peer` says.
        """
        reply = await self._answered(method, path, channel, (content, media, seconds))
        if not is_good(reply):
            raise refusal(path, reply)
        return reply

    async def close(self) -> None:
        """Close every connection."""
        await self._asker.close()

    async def _answered(
        self, method: str, path: str, channel: str, what: tuple[bytes | None, str, float | None]
    ) -> Reply:
        reply = await self._within(method, path, channel, what)
        if reply.status == _UNAUTHENTICATED and not _is_line(reply.lines()):
            self._session.token = ""
            reply = await self._within(method, path, channel, what)
        return reply

    async def _within(
        self, method: str, path: str, channel: str, what: tuple[bytes | None, str, float | None]
    ) -> Reply:
        content, media, seconds = what
        headers = {"authorization": f"Bearer {await self._token(channel)}", "content-type": media}
        return await self._asker.ask(Request(method, path, channel, content, headers, seconds))

    async def bearer(self) -> str:
        """Return the token of the session, opening one when there is none; for another client of the same node.

        Raises:
            HazlinkError: as `Peer` says.
        """
        return await self._token("session")

    async def _token(self, channel: str) -> str:
        async with self._login:
            session = self._session
            _, fence = await in_pool(self._executor, self._copy)
            if not session.token or self._clock.monotonic() >= session.ends or session.fence != fence:
                await self._open(channel, self._speakers.chain(self._iss))
            return self._session.token

    async def _open(self, channel: str, chain: tuple[str, ...]) -> None:
        headers = {"content-type": _JSON}
        asked = await self._asker.ask(Request("POST", "federation/v1/challenge", channel, b"", headers))
        nonce = Claims(_object(asked, "challenge")).text("nonce", 128)
        # the peer's clock decides how old a proof is: ours may be wrong, and then we still want to be heard
        theirs = asked.date if asked.date is not None else self._clock.now()
        self.skew = theirs - self._clock.now()
        form, fence = await in_pool(self._executor, self._form, nonce, chain, int(theirs))
        reply = await self._asker.ask(Request("POST", "exchange/session", channel, form, headers))
        claims = Claims(_object(reply, "session"))
        life = claims.integer("expires_in", least=1)
        self._session = _Session(
            token=claims.text("token", _MAX_TOKEN),
            ends=self._clock.monotonic() + life * (1 - _LEFT),
            fence=fence,
            understands=_understood(claims.content.get("understands")),
            credit=claims.integer("credit", least=1) if "credit" in claims.content else None,
        )

    def _form(self, nonce: str, chain: tuple[str, ...], iat: int) -> tuple[bytes, int]:
        signer, _ = self._speakers.signer_for(self._iss)
        instance, fence = self._copy()
        possession = make_possession(
            signer,
            audience=self._aud.handle.text,
            subject=self._iss.handle.text,
            nonce=nonce,
            iat=iat,
        )
        form = {
            "prefix": self._iss.key,
            "chain": list(chain),
            "possession": possession,
            "instance": b64u(instance),
            "fence": fence,
        }
        return orjson.dumps(form), fence


def _object(reply: Reply, what: str) -> dict[str, Any]:
    if not is_good(reply):
        raise refusal(what, reply)
    content = strict_json.loads(reply.body)
    if not isinstance(content, dict):
        raise MalformedError("federation.exchange_sending.answer", field=what)
    return content


def _one_line(path: str, reply: Reply) -> Line:
    """Return the refusal of a whole request as the one line it comes to."""
    error = refusal(path, reply)
    return Line.refusal(reply.status, error.kind.value, error)


def _is_line(lines: Sequence[bytes]) -> bool:
    """Say whether an answer with a status of refusal is the line of one token, not the refusal of a request."""
    try:
        return len(lines) == 1 and bool(Line.decode(lines[0]).status)
    except HazlinkError:
        return False


def _understood(said: object) -> dict[str, list[str]]:
    if not isinstance(said, dict):
        return {}
    return {
        str(name)[:128]: [str(schema)[:128] for schema in schemas[:64]]
        for name, schemas in list(said.items())[:1_024]
        if isinstance(schemas, list)
    }
