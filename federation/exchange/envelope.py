"""The envelope: what one prefix tells another, as a compact JWS that is kept and passed on as the bytes received.

Rules (facts on federation, (b)):

- the header holds `alg`, `kid`, `typ` and nothing else; `typ` is `hz-envelope+jws`;
- it is named by the SHA-256 of its signing input, never of the whole token: ES256 signatures have two forms;
- `iss` and `aud` are folded prefix handles; `seq` counts 1, 2, 3 … in its (iss, aud, stream, epoch), and `prev` names
  the envelope before, or the opening of the epoch;
- there is no `exp`: a message may wait for days, its time is when it was received;
- the body stands inside (<= 64 KiB of JSON) or beside it, named by digest, length and media type (<= 10 MiB);
- members unknown here are kept with the bytes and otherwise passed over; but `crit`, which says that something else
  must be understood, refuses all;
- a sender signs only what the same strict reader takes back unchanged.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from federation.exchange.members import MEDIA, digest_claim, handle_claim, name_claim, uuid_claim
from federation.exchange.streams import (
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_INLINE_BODY_BYTES,
    is_stream,
)
from registry.errors import InvalidValueError, LimitError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.chain import MAX_LENGTH
from registry.trust.claims import Claims
from registry.trust.encoding import b64u
from registry.trust.keys import Signer
from registry.trust.refusal import as_kind

__all__ = [
    "ENVELOPE_TYPE",
    "JSON_MEDIA",
    "Detached",
    "Draft",
    "Envelope",
    "Position",
    "detach",
    "encode_body",
    "parse",
    "read",
    "seal",
    "uuid7",
]

ENVELOPE_TYPE = "hz-envelope+jws"
JSON_MEDIA = "application/json"
_BINARY_MEDIA = "application/octet-stream"

_MAX_STATEMENT = 65_536
_UUID_ENTROPY = 10
#: What is not plain JSON is refused, not guessed at.
_PLAIN = (
    orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


@dataclass(frozen=True, slots=True)
class Detached:
    """A body that travels beside its envelope.

    Attributes:
        sha256: base64url SHA-256 of its bytes.
        length: in bytes.
        media: media type; `application/json` is read as strictly as a body inside.
        data: the bytes, where they are at hand; never part of the envelope.
    """

    sha256: str
    length: int
    media: str = JSON_MEDIA
    data: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be sent, before it has a number.

    Attributes:
        iss: who sends; a prefix homed here.
        aud: the one receiver.
        stream: one of `STREAMS`.
        type: event name.
        schema: schema identifier with version, for example `incidents/1`.
        body: JSON values (dict with text keys, list, str, int, float, bool, None); bytes or `Detached` go beside.
        ref: `jti` of the envelope this answers.
    """

    iss: Prefix
    aud: Prefix
    stream: str
    type: str
    schema: str
    body: Any = field(hash=False)
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a lane: where an envelope stands, or what comes next.

    Attributes:
        epoch: incarnation of the sender's store, from 1.
        seq: from 1, without gaps.
        prev: base64url hash of the envelope before; for seq 1 of the epoch's opening.
    """

    epoch: int
    seq: int
    prev: str

    def after(self, env: str) -> "Position":
        """Return the position behind the envelope `env` that stands here."""
        return Position(self.epoch, self.seq + 1, env)


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope that was read; whether it is believed is for `checks` to say.

    Attributes:
        chain: the sender's statements, leaf first, or the name of a chain sent before.
        body: the JSON content; None when it is `detached`.
        env: its name, base64url SHA-256 of the signing input.
        token: as received.
        kid: the key that signed.
        parsed: the token's parts, for its verification.
    """

    iss: Prefix
    aud: Prefix
    stream: str
    epoch: int
    seq: int
    prev: str
    jti: str
    iat: int
    type: str
    schema: str
    chain: tuple[str, ...] | str
    body: Any = field(hash=False, repr=False)
    detached: Detached | None
    ref: str | None
    env: str
    token: str = field(repr=False)
    kid: str
    parsed: jws.Parsed = field(repr=False, compare=False)

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.epoch, self.seq, self.prev)

    @property
    def chain_sha256(self) -> str | None:
        """The name of a chain sent before; None when the chain came along."""
        return self.chain if isinstance(self.chain, str) else None


def uuid7(now_ms: int, entropy: Callable[[int], bytes]) -> str:
    """Return a UUID of version 7 (RFC 9562 §5.7).

    Args:
        now_ms: POSIX milliseconds.
        entropy: gives so many random bytes.
    """
    raw = bytearray((now_ms & ((1 << 48) - 1)).to_bytes(6, "big") + entropy(_UUID_ENTROPY))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def encode_body(body: Any) -> bytes:
    """Return a body as the JSON bytes that are signed.

    Raises:
        InvalidValueError: it holds what JSON has no word for, or an integer beyond 2^53 - 1.
    """
    try:
        return orjson.dumps(body, option=_PLAIN)
    except TypeError as error:
        raise InvalidValueError("federation.exchange.body_type", field="body", reason=str(error)) from error


def detach(data: bytes, media: str = _BINARY_MEDIA) -> Detached:
    """Return bytes as a body that goes beside its envelope.

    Raises:
        LimitError: more than 10 MiB.
    """
    if len(data) > MAX_BODY_BYTES:
        raise LimitError(
            "federation.exchange.body_large", field="body", length=len(data), limit=MAX_BODY_BYTES
        )
    return Detached(b64u(hashlib.sha256(data).digest()), len(data), media, bytes(data))


def seal(
    signer: Signer, draft: Draft, position: Position, *, chain: Sequence[str] | str, jti: str, iat: int
) -> Envelope:
    """Sign a draft at its position; by the same rules by which others will read it.

    Args:
        signer: the key of `draft.iss`.
        draft: what is sent.
        position: where it stands.
        chain: the statements of `draft.iss`, leaf first, or the name of the chain when the receiver has it.
        jti: a UUID of version 7.
        iat: POSIX seconds.

    Returns:
        The envelope as its receiver will read it. Where its body went beside it, `detached.data` holds the bytes.

    Raises:
        InvalidValueError: a reader would refuse it, or read something else than `draft.body`.
        LimitError: the body or the whole is too large.
        UnavailableError: the key does not answer.
    """
    payload, beside = _compose(draft, position, chain, jti, iat)
    try:
        made = read(jws.signed(signer, ENVELOPE_TYPE, payload, max_bytes=MAX_ENVELOPE_BYTES))
    except (MalformedError, UntrustedError) as error:
        raise as_kind(error, InvalidValueError) from error
    if beside is None:
        # catches NaN, which would become null, and every object that only looks like JSON
        if made.body != draft.body:
            raise InvalidValueError("federation.exchange.body_changed", field="body")
        return made
    return _with_data(made, beside)


def parse(token: bytes) -> jws.Parsed:
    """Take a token apart without believing it: steps 1 and 2 of the receiver's order.

    Raises:
        LimitError: larger than 256 KiB.
        MalformedError: not three canonical segments with exactly our header.
    """
    if len(token) > MAX_ENVELOPE_BYTES:
        raise LimitError("registry.trust.jws_size", length=len(token), limit=MAX_ENVELOPE_BYTES)
    try:
        text = token.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("registry.trust.jws_alphabet", field="token") from None
    return jws.parse(text, typ=ENVELOPE_TYPE, max_bytes=MAX_ENVELOPE_BYTES)


def read(parsed: jws.Parsed) -> Envelope:
    """Read the payload strictly: step 6 of the receiver's order.

    Raises:
        MalformedError: the JSON or a member is not as it must be.
    """
    content = parsed.claims()
    claims = Claims(content)
    if "crit" in content:
        raise MalformedError("federation.exchange.crit", field="crit", value=str(content["crit"])[:64])
    stream = claims.text("stream", 16)
    if not is_stream(stream):
        raise MalformedError("federation.exchange.stream", field="stream", value=stream)
    return Envelope(
        iss=handle_claim(claims, "iss"),
        aud=handle_claim(claims, "aud"),
        stream=stream,
        epoch=claims.integer("epoch", least=1),
        seq=claims.integer("seq", least=1),
        prev=digest_claim(claims, "prev"),
        jti=uuid_claim(claims, "jti"),
        iat=claims.integer("iat"),
        type=name_claim(claims, "type"),
        schema=name_claim(claims, "schema"),
        chain=_chain(claims),
        body=content.get("body"),
        detached=_detached(claims, parsed),
        ref=uuid_claim(claims, "ref") if "ref" in content else None,
        env=parsed.sha256,
        token=f"{parsed.signing_input.decode()}.{b64u(parsed.signature)}",
        kid=parsed.kid,
        parsed=parsed,
    )


def _compose(
    draft: Draft, position: Position, chain: Sequence[str] | str, jti: str, iat: int
) -> tuple[bytes, Detached | None]:
    claims: dict[str, Any] = {
        "iss": draft.iss.handle.text,
        "aud": draft.aud.handle.text,
        "stream": draft.stream,
        "epoch": position.epoch,
        "seq": position.seq,
        "prev": position.prev,
        "jti": jti,
        "iat": iat,
        "type": draft.type,
        "schema": draft.schema,
        "chain": chain if isinstance(chain, str) else list(chain),
    }
    beside: Detached | None = None
    if isinstance(draft.body, Detached):
        beside = draft.body
    elif isinstance(draft.body, bytes):
        beside = detach(draft.body)
    else:
        body = encode_body(draft.body)
        if len(body) > MAX_INLINE_BODY_BYTES:
            beside = detach(body, JSON_MEDIA)
        else:
            claims["body"] = orjson.Fragment(body)
    if beside is not None:
        claims |= {"body_sha256": beside.sha256, "body_len": beside.length, "body_type": beside.media}
    if draft.ref is not None:
        claims["ref"] = draft.ref
    return encode_body(claims), beside


def _with_data(made: Envelope, beside: Detached) -> Envelope:
    parts = {name: getattr(made, name) for name in Envelope.__slots__}
    return Envelope(**{**parts, "detached": beside})


def _detached(claims: Claims, parsed: jws.Parsed) -> Detached | None:
    content = claims.content
    named = [name for name in ("body_sha256", "body_len", "body_type") if name in content]
    if "body" in content:
        if named:
            raise MalformedError("federation.exchange.body_twice", field=named[0])
        # measured again only where it could be too large at all
        if (
            len(parsed.payload) > MAX_INLINE_BODY_BYTES
            and (length := len(orjson.dumps(content["body"]))) > MAX_INLINE_BODY_BYTES
        ):
            raise MalformedError(
                "federation.exchange.body_large", field="body", length=length, limit=MAX_INLINE_BODY_BYTES
            )
        return None
    return Detached(
        sha256=digest_claim(claims, "body_sha256"),
        length=claims.integer("body_len", most=MAX_BODY_BYTES),
        media=name_claim(claims, "body_type", MEDIA),
    )


def _chain(claims: Claims) -> tuple[str, ...] | str:
    if isinstance(claims.get("chain"), str):
        return digest_claim(claims, "chain")
    chain = claims.array("chain", most=MAX_LENGTH)
    for number, statement in enumerate(chain):
        if not isinstance(statement, str) or not 0 < len(statement) <= _MAX_STATEMENT:
            raise MalformedError("registry.trust.claim_type", field=f"chain[{number}]", right="JWS")
    if not chain:
        raise MalformedError("registry.trust.claim_type", field="chain", right=f"array (1–{MAX_LENGTH})")
    return tuple(chain)
