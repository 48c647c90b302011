"""A leaf of the log: what was sent, received or acknowledged, by digest and never by content.

Rules (facts on federation, (c) "Leaf"):

- a leaf is one compact JSON object with its members in a fixed order; what does not apply is left out;
- it has exactly one spelling: reading refuses every other, so that the hash of a leaf can be made again from its
  content, and a log can be rebuilt;
- at most 65,535 bytes, because an entries bundle gives its length in 16 bits.

`at` is deterministic: the envelope's `iat` for `out`, the receipt's `received_at` for `in` and `ack`.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from registry.errors import LimitError, MalformedError
from registry.trust import strict_json
from registry.trust.encoding import from_b64u

__all__ = ["KINDS", "MAX_LEAF_BYTES", "Leaf"]

MAX_LEAF_BYTES = 65_535

#: received, sent, acknowledged, a key came or went, a lane began anew
KINDS = frozenset({"in", "out", "ack", "key", "epoch"})

_VERSION = 1
_DIGEST_BYTES = 32
_MAX_TEXT = 256
#: in the order in which they are written; the last column: whether it must be there
_MEMBERS: tuple[tuple[str, type, bool], ...] = (
    ("v", int, True),
    ("kind", str, True),
    ("env", str, True),
    ("iss", str, True),
    ("aud", str, True),
    ("stream", str, True),
    ("epoch", int, True),
    ("seq", int, True),
    ("outcome", str, False),
    ("code", str, False),
    ("rcpt", str, False),
    ("at", int, True),
    ("sm3", str, False),
)
_TYPES = {name: kind for name, kind, _ in _MEMBERS}
_REQUIRED = frozenset(name for name, _, needed in _MEMBERS if needed)
_SM3 = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the log.

    Attributes:
        kind: one of `KINDS`.
        env: base64url SHA-256 of the signing input of the envelope (or of the statement, for `key` and `epoch`).
        iss, aud: handles of sender and receiver, `0.NA/88.107`, folded.
        stream, epoch, seq: where the envelope stands.
        at: POSIX seconds, deterministic.
        outcome, code: what became of it (`in`, `ack`).
        rcpt: base64url SHA-256 of the signing input of the receipt (`ack`).
        sm3: base64url SM3 of the envelope's signing input, where the node makes one.
    """

    kind: str
    env: str
    iss: str
    aud: str
    stream: str
    epoch: int
    seq: int
    at: int
    outcome: str | None = None
    code: str | None = None
    rcpt: str | None = None
    sm3: str | None = None

    def encode(self) -> bytes:
        """Return the bytes that are hashed and kept.

        Raises:
            LimitError: longer than 65,535 bytes.
        """
        content: dict[str, Any] = {
            "v": _VERSION,
            "kind": self.kind,
            "env": self.env,
            "iss": self.iss,
            "aud": self.aud,
            "stream": self.stream,
            "epoch": self.epoch,
            "seq": self.seq,
        }
        if self.outcome is not None:
            content["outcome"] = self.outcome
        if self.code is not None:
            content["code"] = self.code
        if self.rcpt is not None:
            content["rcpt"] = self.rcpt
        content["at"] = self.at
        if self.sm3 is not None:
            content["sm3"] = self.sm3
        raw = orjson.dumps(content)
        if len(raw) > MAX_LEAF_BYTES:
            raise LimitError("federation.log.leaf_size", length=len(raw), limit=MAX_LEAF_BYTES)
        return raw

    @classmethod
    def decode(cls, raw: bytes) -> "Leaf":
        """Read a leaf; whatever `encode` would not have written is refused.

        Raises:
            LimitError: longer than 65,535 bytes.
            MalformedError: not strict JSON, an unknown or missing member, a wrong type, another spelling.
        """
        if len(raw) > MAX_LEAF_BYTES:
            raise LimitError("federation.log.leaf_size", length=len(raw), limit=MAX_LEAF_BYTES)
        content = strict_json.loads(raw, max_depth=2)
        if not isinstance(content, dict):
            raise MalformedError("federation.log.leaf_form", field="leaf")
        _check(content)
        del content["v"]
        made = cls(**content)
        if made.encode() != raw:
            raise MalformedError("federation.log.leaf_spelling", field="leaf")
        return made


def _check(content: dict[str, Any]) -> None:
    for name, value in content.items():
        # exactly this type: true is no number
        good = type(value) is _TYPES.get(name)
        if not good or not (0 < len(value) <= _MAX_TEXT if isinstance(value, str) else value >= 0):
            raise MalformedError("federation.log.leaf_member", field=name[:64])
    for name in _REQUIRED - content.keys():
        raise MalformedError("federation.log.leaf_member", field=name)
    if content["v"] != _VERSION:
        raise MalformedError("federation.log.leaf_version", field="v", value=content["v"])
    if content["kind"] not in KINDS:
        raise MalformedError("federation.log.leaf_kind", field="kind", value=content["kind"])
    for name in ("env", "rcpt"):
        digest = content.get(name)
        if digest is not None and len(from_b64u(digest) or b"") != _DIGEST_BYTES:
            raise MalformedError("federation.log.leaf_digest", field=name)
    sm3 = content.get("sm3")
    if sm3 is not None and not _SM3.fullmatch(sm3):
        raise MalformedError("federation.log.leaf_digest", field="sm3")
