"""The way to a receiver in another node: HTTPS, in the name of one prefix.

Rules (ADR 8; facts on federation, (b) "Transport"):

- a session is opened with the chain of the sender's prefix and a proof of its key, for one prefix over there; the
  token goes to that node alone, and is renewed before it ends, when it is refused, and with every new fence;
- alarms have a session of their own, which the first sign of life after a silence opens for them;
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
_LOGIN_SECONDS = 10.0
#: Channels that share the session for alarms.
_URGENT = frozenset({"alarm", "probe"})
#: A refusal in the peer's own words: a sign of life too.
_REFUSED = "federation.exchange_sending.refused"


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
        """Say whether the peer answers at all, and make ready for alarms if it does; cheap, and never raises."""
        ...


@dataclass(slots=True)
class _Session:
    token: str = ""
    ends: float = 0.0
    fence: int = -1
    understands: Mapping[str, list[str]] = field(default_factory=dict)
    credit: int | None = None


@dataclass(slots=True)
class _Login:
    """A session, and who is just opening it."""

    session: _Session = field(default_factory=_Session)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _Challenge:
    """What a proof of possession answers: the peer's nonce, and its time (POSIX seconds)."""

    nonce: str
    at: float


class HttpPeer:
    """A node above, spoken to in the name of one prefix; implements `Peer`.

    Owner of the sessions and of the open connections: the event loop that uses it.
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
            executor: for what blocks, each time for a moment only: keys and the mark file.
            config: limits.
        """
        self._iss = iss
        self._aud = aud
        self._speakers = speakers
        self._copy = copy
        self._clock = clock
        self._executor = executor
        self._config = config
        self._login, self._urgent = _Login(), _Login()
        #: Seconds by which the peer's clock was ahead of ours when the session was opened.
        self.skew = 0.0
        self._asker = Asker(reach=reach, connect=connect, executor=executor, config=config, name=aud.key)

    @property
    def understands(self) -> Mapping[str, list[str]]:
        """Type → schemas the peer said it has handlers for, at the last session."""
        return self._newest.understands

    @property
    def credit(self) -> int | None:
        """Envelopes the peer takes in one batch, as it said at the last session."""
        return self._newest.credit

    @property
    def _newest(self) -> _Session:
        return max(self._login.session, self._urgent.session, key=lambda session: session.ends)

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
        async with self._login.lock:
            await self._open(self._login, "introduction", tuple(chain))

    async def announce(self, stream: str, statement: str, countersigned: str) -> None:
        """Show the countersigned announcement of an epoch.

        Raises:
            HazlinkError: as `Peer` says.
        """
        form = orjson.dumps({"statement": statement, "countersignature": countersigned})
        await self.ask("POST", "exchange/epochs", channel=stream, content=form)

    async def alive(self) -> bool:
        """Say whether the peer answers at all, and open the session for alarms if it does."""
        try:
            challenge = await self._challenged("probe")
            if not self._urgent.lock.locked():
                async with self._urgent.lock:
                    if not await self._is_open(self._urgent):
                        chain = self._speakers.chain(self._iss)
                        await self._prove(self._urgent, "probe", chain, challenge)
        except HazlinkError as error:
            return error.code == _REFUSED
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
            self._login_of(channel).session.token = ""
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

    def _login_of(self, channel: str) -> _Login:
        return self._urgent if channel in _URGENT else self._login

    async def _token(self, channel: str) -> str:
        login = self._login_of(channel)
        async with login.lock:
            if not await self._is_open(login):
                await self._open(login, channel, self._speakers.chain(self._iss))
            return login.session.token

    async def _is_open(self, login: _Login) -> bool:
        _, fence = await in_pool(self._executor, self._copy)
        session = login.session
        return bool(session.token) and self._clock.monotonic() < session.ends and session.fence == fence

    async def _open(self, login: _Login, channel: str, chain: tuple[str, ...]) -> None:
        await self._prove(login, channel, chain, await self._challenged(channel))

    async def _challenged(self, channel: str) -> _Challenge:
        reply = await self._asked("federation/v1/challenge", channel, b"")
        nonce = Claims(_object(reply, "challenge")).text("nonce", 128)
        # the peer's clock decides how old a proof is: ours may be wrong, and then we still want to be heard
        theirs = reply.date if reply.date is not None else self._clock.now()
        self.skew = theirs - self._clock.now()
        return _Challenge(nonce, theirs)

    async def _prove(
        self, login: _Login, channel: str, chain: tuple[str, ...], challenge: _Challenge
    ) -> None:
        form, fence = await in_pool(self._executor, self._form, challenge.nonce, chain, int(challenge.at))
        reply = await self._asked("exchange/session", channel, form)
        claims = Claims(_object(reply, "session"))
        life = claims.integer("expires_in", least=1)
        login.session = _Session(
            token=claims.text("token", _MAX_TOKEN),
            ends=self._clock.monotonic() + life * (1 - _LEFT),
            fence=fence,
            understands=_understood(claims.content.get("understands")),
            credit=claims.integer("credit", least=1) if "credit" in claims.content else None,
        )

    async def _asked(self, path: str, channel: str, content: bytes) -> Reply:
        seconds = _PROBE_SECONDS if channel == "probe" else min(_LOGIN_SECONDS, self._config.request_seconds)
        return await self._asker.ask(
            Request("POST", path, channel, content, {"content-type": _JSON}, seconds=seconds)
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
