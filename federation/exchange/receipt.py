"""The receipt: what the receiver signs about an envelope once its effect is durable, and the line that carries it.

Rules (facts on federation, (b)):

- a compact JWS of type `hz-receipt+jws`; `env` names the envelope by the hash of its signing input;
- `accepted`, `unapplied` and `rejected` are final: they use up the number, stand in the log (`leaf_index`, `leaf`),
  are stored once and sent again byte for byte;
- `retry`, `misdirected` and `equivocation` use up nothing and name no leaf; a retry names what is expected;
- the same content under the same Ed25519 key makes the same bytes, so a receipt can be made again after a restore;
- whatever is not signed means only "try again".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import orjson

from federation.exchange.envelope import Envelope
from federation.exchange.members import digest_claim, handle_claim
from federation.exchange.streams import is_stream
from registry.errors import HazlinkError, InvalidValueError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws, strict_json
from registry.trust.algorithms import PublicKey
from registry.trust.claims import Claims
from registry.trust.keys import Signer

__all__ = [
    "CODES",
    "FINAL",
    "MAX_CREDIT",
    "MAX_LINE_BYTES",
    "MAX_RECEIPT_BYTES",
    "RECEIPT_TYPE",
    "Expected",
    "Line",
    "Outcome",
    "Receipt",
    "Row",
    "issue",
    "read",
    "require_answer",
    "verify",
]

RECEIPT_TYPE = "hz-receipt+jws"
MAX_RECEIPT_BYTES = 4096
MAX_LINE_BYTES = 16_384
MAX_CREDIT = 1_000_000

Outcome: TypeAlias = Literal["accepted", "unapplied", "rejected", "retry", "misdirected", "equivocation"]

#: Outcomes that use up the number.
FINAL: frozenset[str] = frozenset({"accepted", "unapplied", "rejected"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table of outcomes: what a code means, and the HTTP status of its line."""

    outcome: Outcome
    status: int


#: code → row. A receipt with another code is not understood.
CODES: Mapping[str, Row] = MappingProxyType(
    {
        "ok": Row("accepted", 200),
        "unknown_type": Row("unapplied", 200),
        "unknown_schema": Row("unapplied", 200),
        "bad_json": Row("rejected", 200),
        "bad_schema": Row("rejected", 200),
        "forbidden_prefix": Row("rejected", 200),
        "forbidden_op": Row("rejected", 200),
        "bad_prev": Row("rejected", 200),
        "business": Row("rejected", 200),
        "gap": Row("retry", 425),
        "unknown_epoch": Row("retry", 425),
        "stale_chain": Row("retry", 425),
        "wrong_aud": Row("misdirected", 421),
        "wrong_iss": Row("misdirected", 421),
        "equivocation": Row("equivocation", 409),
    }
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the receiver waits for."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that was read; verified only by `verify` with a key of its `iss`.

    Attributes:
        iss: the receiver of the envelope.
        aud: its sender.
        env: the envelope's name.
        outcome: what became of it.
        code: why.
        received_at: POSIX seconds.
        leaf_index, leaf: where it stands in the receiver's log and the base64url leaf hash; None when nowhere.
        credit: envelopes the receiver will take at once.
        expected: for a retry what it waits for.
        sha256: the receipt's own name, for the `ack` leaf of the sender's log.
        token: as received.
        kid: the key that signed.
        parsed: the token's parts, for its verification.
    """

    iss: Prefix
    aud: Prefix
    env: str
    stream: str
    epoch: int
    seq: int
    outcome: Outcome
    code: str
    received_at: int
    leaf_index: int | None
    leaf: str | None
    credit: int
    expected: Expected | None
    sha256: str
    token: str = field(repr=False)
    kid: str
    parsed: jws.Parsed = field(repr=False, compare=False)

    @property
    def final(self) -> bool:
        """Whether the number is used up."""
        return self.outcome in FINAL

    @property
    def status(self) -> int:
        """The HTTP status of its line."""
        return CODES[self.code].status


def issue(
    signer: Signer,
    *,
    iss: Prefix,
    aud: Prefix,
    env: str,
    stream: str,
    epoch: int,
    seq: int,
    code: str,
    received_at: int,
    credit: int,
    leaf_index: int | None = None,
    leaf: str | None = None,
    expected: Expected | None = None,
) -> str:
    """Sign a receipt; the code decides the outcome.

    Args:
        signer: the key of `iss`.
        iss: the receiver.
        aud: the sender of the envelope.
        env: the envelope's name.
        stream: of the envelope.
        epoch: of the envelope; of its URL when it cannot be read.
        seq: likewise.
        code: one of `CODES`.
        received_at: POSIX seconds.
        credit: the configured constant.
        leaf_index: place in the receiver's log, for a final outcome.
        leaf: base64url leaf hash, for a final outcome.
        expected: for `gap` and `unknown_epoch`, and wherever it helps.

    Raises:
        InvalidValueError: an unknown code; a final outcome without a leaf, or another one with it.
        UnavailableError: the key does not answer.
    """
    row = CODES.get(code)
    if row is None:
        raise InvalidValueError("federation.exchange.receipt_code", field="code", value=code)
    logged = leaf is not None
    if logged != (row.outcome in FINAL) or logged != (leaf_index is not None):
        raise InvalidValueError("federation.exchange.receipt_leaf", field="leaf", outcome=row.outcome)
    claims: dict[str, Any] = {
        "iss": iss.handle.text,
        "aud": aud.handle.text,
        "env": env,
        "stream": stream,
        "epoch": epoch,
        "seq": seq,
        "outcome": row.outcome,
        "code": code,
        "received_at": received_at,
    }
    if logged:
        claims["leaf_index"] = leaf_index
        claims["leaf"] = leaf
    claims["credit"] = credit
    if expected is not None:
        claims["expected"] = {"epoch": expected.epoch, "seq": expected.seq}
    return jws.sign(signer, RECEIPT_TYPE, orjson.dumps(claims))


def read(token: str) -> Receipt:
    """Read a receipt without believing it.

    Raises:
        LimitError: larger than 4 KiB.
        MalformedError: the syntax or a member is not as it must be.
    """
    parsed = jws.parse(token, typ=RECEIPT_TYPE, max_bytes=MAX_RECEIPT_BYTES)
    claims = Claims(parsed.claims())
    code = claims.text("code", 64)
    row = CODES.get(code)
    if row is None:
        raise MalformedError("federation.exchange.receipt_code", field="code", value=code)
    if claims.text("outcome", 64) != row.outcome:
        raise MalformedError(
            "federation.exchange.receipt_outcome", field="outcome", value=claims.text("outcome"), code=code
        )
    stream = claims.text("stream", 16)
    if not is_stream(stream):
        raise MalformedError("federation.exchange.stream", field="stream", value=stream)
    leaf_index, leaf = _leaf(claims, row.outcome)
    return Receipt(
        iss=handle_claim(claims, "iss"),
        aud=handle_claim(claims, "aud"),
        env=digest_claim(claims, "env"),
        stream=stream,
        epoch=claims.integer("epoch", least=1),
        seq=claims.integer("seq", least=1),
        outcome=row.outcome,
        code=code,
        received_at=claims.integer("received_at"),
        leaf_index=leaf_index,
        leaf=leaf,
        credit=claims.integer("credit", most=MAX_CREDIT),
        expected=_expected(claims, code),
        sha256=parsed.sha256,
        token=token,
        kid=parsed.kid,
        parsed=parsed,
    )


def verify(receipt: Receipt, key: PublicKey) -> None:
    """Check the signature with a key of the receiver.

    Raises:
        UntrustedError: the receipt names another key or algorithm, or the signature does not fit.
    """
    jws.verify(receipt.parsed, key)


def require_answer(receipt: Receipt, envelope: Envelope) -> None:
    """Refuse a receipt that does not answer this envelope, member by member.

    Raises:
        UntrustedError: it is about another envelope, another place, or between others.
    """
    if receipt.env != envelope.env:
        raise _other("env", receipt.env, envelope.env)
    if receipt.stream != envelope.stream:
        raise _other("stream", receipt.stream, envelope.stream)
    if (receipt.epoch, receipt.seq) != (envelope.epoch, envelope.seq):
        raise _other("seq", f"{receipt.epoch}/{receipt.seq}", f"{envelope.epoch}/{envelope.seq}")
    if receipt.aud != envelope.iss:
        raise _other("aud", receipt.aud.key, envelope.iss.key)
    # who was not meant says so in his own name
    if receipt.iss != envelope.aud and receipt.outcome != "misdirected":
        raise _other("iss", receipt.iss.key, envelope.aud.key)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an answer: a signed receipt, or without a signature why there is none.

    Attributes:
        status: HTTP status; of the line alone, of the whole answer where a token was sent alone.
        receipt: the token, as stored.
        code: reason of an unsigned refusal.
        detail_zh, detail_en: for people.
        retry_after: seconds.
    """

    status: int
    receipt: str | None = None
    code: str | None = None
    detail_zh: str | None = None
    detail_en: str | None = None
    retry_after: float | None = None

    @classmethod
    def refusal(
        cls, status: int, code: str, error: HazlinkError | None = None, *, retry_after: float | None = None
    ) -> "Line":
        """Return an unsigned line; the texts are those of `error`."""
        return cls(
            status,
            code=code,
            detail_zh=error.message("zh") if error else None,
            detail_en=error.message("en") if error else None,
            retry_after=retry_after if retry_after is not None or error is None else error.retry_after,
        )

    def encode(self) -> bytes:
        """Return one line of JSON, without its LF."""
        if self.receipt is not None:
            # base64url and two dots: nothing to escape
            return b'{"status":%d,"receipt":"%s"}' % (self.status, self.receipt.encode())
        claims = {
            "status": self.status,
            "code": self.code,
            "detail_zh": self.detail_zh,
            "detail_en": self.detail_en,
            "retry_after": self.retry_after,
        }
        return orjson.dumps({name: value for name, value in claims.items() if value is not None})

    @classmethod
    def decode(cls, raw: bytes) -> "Line":
        """Read a line somebody sent; members unknown here are passed over.

        Raises:
            MalformedError: it is no such line.
        """
        if len(raw) > MAX_LINE_BYTES:
            raise MalformedError("federation.exchange.line", field="line", length=len(raw))
        claims = Claims(strict_json.loads(raw, max_depth=4), at="line")
        wait = claims.content.get("retry_after")
        if wait is not None and (isinstance(wait, bool) or not isinstance(wait, int | float) or wait < 0):
            raise MalformedError("registry.trust.claim_type", field="line.retry_after", right=">= 0")
        return cls(
            status=claims.integer("status", least=100, most=599),
            receipt=claims.optional_text("receipt", MAX_RECEIPT_BYTES),
            code=claims.optional_text("code", 64),
            detail_zh=claims.optional_text("detail_zh", 4096),
            detail_en=claims.optional_text("detail_en", 4096),
            retry_after=wait,
        )


def _leaf(claims: Claims, outcome: Outcome) -> tuple[int | None, str | None]:
    if outcome in FINAL:
        return claims.integer("leaf_index"), digest_claim(claims, "leaf")
    if "leaf_index" in claims.content or "leaf" in claims.content:
        raise MalformedError("federation.exchange.receipt_leaf", field="leaf", outcome=outcome)
    return None, None


def _expected(claims: Claims, code: str) -> Expected | None:
    if "expected" not in claims.content:
        if code in ("gap", "unknown_epoch"):
            raise MalformedError("registry.trust.claim_missing", field="expected")
        return None
    inner = Claims(claims.object("expected"), at="expected")
    return Expected(inner.integer("epoch", least=1), inner.integer("seq", least=1))


def _other(name: str, value: str, right: str) -> UntrustedError:
    return UntrustedError(f"federation.exchange.other_{name}", field=name, value=value[:80], right=right)
