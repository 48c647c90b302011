"""Relaying: a superior passes an envelope on unchanged inside its own, and who receives it verifies the origin.

Rules (facts on federation, (b) "Transport … Relay"):

- the body of type `relay` is `{"token", "chain"}` and, for an envelope whose body travelled beside it, `"body"`,
  those bytes in base64url; the token is the original one, byte for byte;
- which envelopes are passed on is the policy of whoever received them; their chain is the one that decided;
- the draft is stored in the transaction that accepts the envelope: what was accepted is passed on, once;
- how the receiver of a relay takes it in: see `relayed`.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from federation.exchange import envelope as wire
from federation.exchange.envelope import JSON_MEDIA, Draft, Envelope
from federation.exchange.streams import CONTROL, MAX_BODY_BYTES, MAX_ENVELOPE_BYTES
from registry.errors import MalformedError
from registry.identifier import Prefix
from registry.trust import strict_json
from registry.trust.chain import MAX_LENGTH, VerifiedChain
from registry.trust.claims import Claims
from registry.trust.encoding import b64u, from_b64u
from registry.trust.statement import read as read_statement

__all__ = [
    "RELAY_TYPE",
    "Drafts",
    "RelayForm",
    "RelayPolicy",
    "RelayStreams",
    "Relaying",
    "Superiors",
    "innermost",
    "relay_body",
    "relay_schema",
]

RELAY_TYPE = "relay"

_MEMBERS = frozenset({"token", "chain", "body"})
#: What stands around the token in the body of a relay: names, quotes, and the chain.
_ROOM = 65_536
_MAX_STATEMENT = 65_536


def relay_schema(stream: str) -> str:
    """Return the schema of a relay on a stream: a type is understood on one stream only, relays come on each."""
    return f"relay.{stream}/1"


def relay_body(envelope: Envelope, chain: VerifiedChain, data: bytes | None = None) -> dict[str, Any]:
    """Return the body of a relay.

    Args:
        envelope: as received.
        chain: what vouches for its sender.
        data: the bytes of its body, where that went beside it.
    """
    body: dict[str, Any] = {"token": envelope.token, "chain": list(chain.tokens)}
    if data is not None:
        body["body"] = b64u(data)
    return body


class RelayPolicy(Protocol):
    """Which arriving envelopes are passed on upward; the same answer for the same question while the node runs."""

    def relays(self, stream: str, type_: str) -> bool:
        """Say whether envelopes of this type on this stream are passed on."""
        ...


@dataclass(frozen=True, slots=True)
class RelayStreams:
    """Passes on whole streams; implements `RelayPolicy`.

    Attributes:
        streams: their names; `control` never is one: it is between neighbours.
        kept: types that stay here all the same.
    """

    streams: frozenset[str]
    kept: frozenset[str] = frozenset()

    def relays(self, stream: str, type_: str) -> bool:
        """Say whether envelopes of this type on this stream are passed on."""
        return stream in self.streams and stream != CONTROL and type_ not in self.kept


class Drafts(Protocol):
    """Takes what is to be sent; `federation.exchange.outbox.Outbox` is one."""

    def append(self, connection: Any, draft: Draft) -> int:
        """Store one draft inside the open transaction; return its position."""
        ...


class Superiors(Protocol):
    """Who is above a prefix; `registry.prefixes.homes.Homes` is one. Errors: none."""

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for a prefix, leaf first."""
        ...


class Relaying:
    """Passes accepted envelopes on to the superior, inside the accepting transaction.

    Args:
        policy: which ones.
        drafts: the outbox.
        superiors: the chains of the prefixes homed here, whose issuers are their superiors.
    """

    def __init__(self, *, policy: RelayPolicy, drafts: Drafts, superiors: Superiors) -> None:
        self._policy = policy
        self._drafts = drafts
        self._superiors = superiors

    def wants(self, envelope: Envelope, body: Any) -> bool:
        """Say whether an accepted envelope is passed on; for a relay the type inside is asked about.

        Args:
            envelope: as accepted.
            body: its content.
        """
        type_ = envelope.type
        if type_ == RELAY_TYPE:
            try:
                type_ = innermost(body).type
            except MalformedError:
                return False
        return self._policy.relays(envelope.stream, type_) and self._above(envelope.aud) is not None

    def pass_on(
        self, connection: Any, envelope: Envelope, chain: VerifiedChain, data: bytes | None
    ) -> int | None:
        """Store a draft that carries the envelope on; None when there is nobody above, or it is too large.

        Args:
            connection: the accepting transaction.
            envelope: as received.
            chain: what vouches for its sender.
            data: the bytes of its body, where that went beside it.
        """
        above = self._above(envelope.aud)
        size = len(envelope.token) + (len(data) * 4 // 3 if data else 0)
        if above is None or size + _ROOM > MAX_BODY_BYTES:
            return None
        if envelope.detached is not None and data is None:
            return None
        draft = Draft(
            iss=envelope.aud,
            aud=above,
            stream=envelope.stream,
            type=RELAY_TYPE,
            schema=relay_schema(envelope.stream),
            body=relay_body(envelope, chain, data),
            ref=envelope.jti,
        )
        return self._drafts.append(connection, draft)

    def _above(self, prefix: Prefix) -> Prefix | None:
        chain = self._superiors.chain(prefix)
        return _issuer(chain[0]) if chain else None


@dataclass(frozen=True, slots=True)
class RelayForm:
    """The body of a relay, read; nothing of it is believed yet."""

    token: str
    chain: tuple[str, ...]
    envelope: Envelope
    body: Any

    @classmethod
    def read(cls, body: Any) -> "RelayForm":
        """Read the body of a relay.

        Raises:
            MalformedError: it is none, or the token or body inside cannot be read.
        """
        if not isinstance(body, dict) or not _MEMBERS.issuperset(body):
            raise MalformedError("federation.exchange_receiving.relay_form", field="body")
        claims = Claims(body, at="body")
        token = claims.text("token", MAX_ENVELOPE_BYTES)
        chain = _chain(claims)
        envelope = _read(token)
        if envelope.detached is None:
            if "body" in body:
                raise MalformedError("federation.exchange_receiving.relay_form", field="body.body")
            return cls(token, chain, envelope, envelope.body)
        data = from_b64u(claims.text("body", MAX_BODY_BYTES))
        if data is None or not _fits(envelope, data):
            raise MalformedError("federation.exchange_receiving.relay_form", field="body.body")
        media = envelope.detached.media
        return cls(token, chain, envelope, strict_json.loads(data) if media == JSON_MEDIA else data)


def innermost(body: Any) -> Envelope:
    """Return the original envelope inside the body of a relay, unverified.

    Raises:
        MalformedError: what is inside cannot be read, or too many relays are around it.
    """
    form = RelayForm.read(body)
    for _ in range(MAX_LENGTH):
        if form.envelope.type != RELAY_TYPE:
            return form.envelope
        form = RelayForm.read(form.body)
    raise MalformedError("federation.exchange_receiving.relay_deep", limit=MAX_LENGTH)


def _read(token: str) -> Envelope:
    return wire.read(wire.parse(token.encode("utf-8", "surrogatepass")))


@lru_cache(maxsize=4096)
def _issuer(token: str) -> Prefix | None:
    return read_statement(token).issuer


def _chain(claims: Claims) -> tuple[str, ...]:
    found = claims.array("chain", most=MAX_LENGTH)
    if not found or not all(isinstance(item, str) and 0 < len(item) <= _MAX_STATEMENT for item in found):
        raise MalformedError("federation.exchange_receiving.relay_form", field="body.chain")
    return tuple(found)


def _fits(envelope: Envelope, data: bytes) -> bool:
    beside = envelope.detached
    return (
        beside is not None
        and len(data) == beside.length
        and b64u(hashlib.sha256(data).digest()) == beside.sha256
    )
