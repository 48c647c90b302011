"""Check a file of evidence with nothing at hand but this file, Python and the `cryptography` package.

    python verifier.py FILE --anchor FINGERPRINT [--revocations FILE] [--allow-unwitnessed] [--body OUT] [--json]

The file says: this sender signed this envelope, that receiver signed that it has it, and the receipt stands in
the receiver's append-only log, under a checkpoint that somebody else has witnessed. One thing alone is trusted: the
fingerprint of the first root document, which must come from elsewhere (a notary, a printed page, a register).

What is checked, in this order; the first thing that does not hold ends it:

1. the file is the one spelling of its content, no member is unknown: no byte can be changed unnoticed;
2. the roots, from the pinned one on: each signed by enough keys of the one before and of its own;
3. the receipt, the envelope it names, and their positions, outcome and times; each signed by a key of its chain;
4. both chains, judged at the time of receipt and not today: signatures, rights that only shrink, lives, algorithms;
5. the leaf of the receipt, its inclusion under the checkpoint, the log's signature by the key certified for it;
6. the cosignatures of witnesses, each certified under the same root, and the time they give;
7. revocations: what a revoked key signed stands only when somebody who does not depend on any revoked key
   witnessed it earlier;
8. what else is in the file (the sender's own log, the acknowledgement, an inner token and its evidence).

This file shares no line with the programs that make such evidence: it is a second implementation, on purpose, and
one file, so that it can be copied, read from top to bottom, and kept. It reads no clock and no network.
Exit status: 0 it holds, 1 it does not, 2 it was not judged.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

__all__ = [
    "EVIDENCE_TYPE",
    "EvidenceError",
    "Finding",
    "NotJudgedError",
    "canonical",
    "check_inclusion",
    "main",
    "verify",
]

EVIDENCE_TYPE = "hazlink-evidence/v1"

_LEEWAY = 300
_MAX_FILE = 64 << 20
_MAX_DEPTH = 32
_MAX_INTEGER = (1 << 53) - 1
_MAX_CHAIN = 8
_MAX_ALGS = 16
_MAX_NAMES = 32
_MAX_TEXT = 512
_MAX_RELAYS = 8
_MAX_ROOTS = 1000
_MAX_NOTE_LINES = 64
_DIGEST = 32
_SIGNATURE = 64
#: A difference between two clocks beyond which it is worth a word.
_WORTH_TELLING = 86_400


# --- Refusals -----------------------------------------------------------------------------------------------------


class EvidenceError(Exception):
    """The evidence does not hold; `code` names the text, `params` fill it."""

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(code, params)
        self.code = code
        self.params = params

    def text(self, language: str) -> str:
        """Return the reason in `zh` or `en`."""
        return _said(_REASONS[self.code], language, self.params)


class NotJudgedError(EvidenceError):
    """This program cannot tell: an algorithm or a version it does not have."""


_REASONS: dict[str, tuple[str, str]] = {
    "size": ("文件超过 {limit} 字节", "the file is larger than {limit} bytes"),
    "json": ("{what}：不是严格的 JSON（{why}）", "{what}: not strict JSON ({why})"),
    "canonical": (
        "文件不是其内容的唯一写法：有字节被改动或重新排版",
        "the file is not the one spelling of its content: a byte was changed, or it was formatted anew",
    ),
    "members": ("{what}：成员 {name} 缺失或多余", "{what}: the member {name} is missing or unknown"),
    "type": ("{what} 的类型或取值不对", "{what} has the wrong type or value"),
    "version": ("证据格式 {value} 未知", "the evidence format {value} is not known here"),
    "alphabet": ("{what}：base64 写法不规范", "{what}: not the one right base64 spelling"),
    "anchor": (
        "文件以根指纹 {value} 为据，您给出的是 {right}",
        "the file stands on the root fingerprint {value}, you gave {right}",
    ),
    "root": ("根文件第 {ver} 版：{why}", "root version {ver}: {why}"),
    "token": ("{what}：令牌不合规范（{why}）", "{what}: the token is malformed ({why})"),
    "key": ("公钥不被接受（{why}）", "a public key is not admitted ({why})"),
    "algorithm": ("算法 {alg} 在此无法校验", "the algorithm {alg} cannot be checked here"),
    "signature": ("{what}：签名不成立（密钥 {kid}）", "{what}: the signature does not hold (key {kid})"),
    "signer": (
        "{what}：密钥 {kid} 在该时刻不是 {who} 的签名密钥",
        "{what}: the key {kid} was no signing key of {who} at that time",
    ),
    "chain": ("{who} 的信任链：{why}", "the chain of {who}: {why}"),
    "time": ("{who} 的信任链在 {at} 无效", "the chain of {who} was not good at {at}"),
    "differs": (
        "{what}：{name} 是 {value}，应为 {right}",
        "{what}: {name} is {value}, it should be {right}",
    ),
    "inclusion": ("{what}：不在该检查点所签的日志中", "{what}: not in the log that the checkpoint signs"),
    "note": ("检查点：{why}", "the checkpoint: {why}"),
    "log_key": ("{who} 的声明没有认证日志密钥", "the statement about {who} certifies no log key"),
    "witness": ("见证方 {who}：{why}", "the witness {who}: {why}"),
    "unwitnessed": (
        "检查点没有经认证的见证方签名：时间与日志只有接收方自己的话为证",
        "nobody certified has witnessed the checkpoint: time and log rest on the receiver's word alone",
    ),
    "early": (
        "见证时间 {at} 早于回执所称的接收时间 {received}",
        "it was witnessed at {at}, before the receipt says it was received ({received})",
    ),
    "revoked": (
        "密钥 {kid}（{role}）已于 {at} 被吊销，本文件不能证明此前已有",
        "the key {kid} ({role}) was revoked at {at}, and the file does not prove that this is older",
    ),
    "beyond": (
        "密钥 {kid} 已被吊销，流 {stream} 上最后有效的是 {last}，此为 {value}",
        "the key {kid} was revoked; last good on stream {stream} was {last}, this is {value}",
    ),
    "rights": ("{who} 无权：{what}", "{who} had no right to: {what}"),
    "outcome": ("回执结果 {value} 不是接收的证明", "the outcome {value} is no proof of receipt"),
    "relay": ("转递：{why}", "the relay: {why}"),
}


def _said(texts: tuple[str, str], language: str, params: Mapping[str, object]) -> str:
    return texts[0 if language == "zh" else 1].format_map({name: str(part) for name, part in params.items()})


# --- Encodings ----------------------------------------------------------------------------------------------------


def _b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_b64u(text: Any, what: str, size: int | None = None) -> bytes:
    """Read base64url without padding, in its only right spelling."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise EvidenceError("alphabet", what=what)
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _b64u(data) != text or (size is not None and len(data) != size):
        raise EvidenceError("alphabet", what=what)
    return data


def _from_b64(text: str, what: str, size: int | None = None) -> bytes:
    """Read standard base64 with padding, in its only right spelling."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise EvidenceError("alphabet", what=what) from None
    if base64.b64encode(data).decode() != text or (size is not None and len(data) != size):
        raise EvidenceError("alphabet", what=what)
    return data


def _strict_json(data: bytes, what: str) -> Any:
    """Read JSON that two readers cannot understand differently."""

    def refuse(why: str) -> NoReturn:
        raise EvidenceError("json", what=what, why=why)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            refuse("duplicate member")
        return made

    def integer(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) > _MAX_INTEGER:  # noqa: PLR2004 — digits of 2^53 and a sign
            refuse("integer beyond 2^53-1")
        return int(digits)

    def number(digits: str) -> float:
        made = float(digits)
        if made - made != 0:
            refuse("number")
        return made

    try:
        text = data.decode("utf-8")
        _check_depth(text, refuse)
        content = json.loads(
            text, object_pairs_hook=members, parse_int=integer, parse_float=number, parse_constant=refuse
        )
        # a lone surrogate can stand in an escape; no encoder takes it
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        refuse(type(error).__name__)
    return content


def _check_depth(text: str, refuse: Callable[[str], NoReturn]) -> None:
    depth = 0
    for mark in re.finditer(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', text, re.DOTALL):
        if mark[0] in ("[", "{"):
            depth += 1
            if depth > _MAX_DEPTH:
                refuse("depth")
        elif mark[0] in ("]", "}"):
            depth -= 1


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return the one spelling of a file of evidence: members sorted, nothing between, ASCII, one LF at the end."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _object(content: Any, what: str, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    """Return an object with exactly these members."""
    if not isinstance(content, dict):
        raise EvidenceError("type", what=what)
    needed = set(required)
    for name in sorted(needed.symmetric_difference(content).difference(set(optional) - needed)):
        raise EvidenceError("members", what=what, name=name[:64])
    return content


def _text(content: Mapping[str, Any], name: str, what: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value:
        raise EvidenceError("type", what=f"{what}.{name}")
    return value


def _number(content: Mapping[str, Any], name: str, what: str, least: int = 0) -> int:
    value = content.get(name)
    if type(value) is not int or not least <= value <= _MAX_INTEGER:
        raise EvidenceError("type", what=f"{what}.{name}")
    return value


def _list(content: Mapping[str, Any], name: str, what: str, most: int) -> list[Any]:
    value = content.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise EvidenceError("type", what=f"{what}.{name}")
    return value


def _texts(content: Mapping[str, Any], name: str, what: str, most: int) -> tuple[str, ...]:
    """Return an array of different texts, not empty."""
    value = _list(content, name, what, most)
    good = all(isinstance(item, str) and 0 < len(item) <= _MAX_TEXT for item in value)
    if not value or not good or len(set(value)) != len(value):
        raise EvidenceError("type", what=f"{what}.{name}")
    return tuple(value)


def _same(what: str, name: str, value: object, right: object) -> None:
    if type(value) is not type(right) or value != right:
        raise EvidenceError("differs", what=what, name=name, value=str(value)[:128], right=str(right)[:128])


# --- Keys and signatures ------------------------------------------------------------------------------------------

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
#: y of every point whose order divides 8: under such a key one fixed signature can fit any message.
_LOW_ORDER = frozenset(
    {0, 1, _P - 1}
    | {
        int.from_bytes(bytes.fromhex(y), "little")
        for y in (
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        )
    }
)


def _ed25519(raw: bytes) -> Callable[[bytes, bytes], bool]:
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    if y >= _P or y in _LOW_ORDER:
        raise EvidenceError("key", why="Ed25519: low order or not canonical")
    if pow((y * y - 1) * pow(_D * y * y + 1, -1, _P), (_P - 1) // 2, _P) != 1:
        raise EvidenceError("key", why="Ed25519: not on the curve")
    native = Ed25519PublicKey.from_public_bytes(raw)

    def check(data: bytes, signature: bytes) -> bool:
        try:
            native.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return check


def _es256(x: bytes, y: bytes) -> Callable[[bytes, bytes], bool]:
    try:
        native = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        ).public_key()
    except ValueError:
        raise EvidenceError("key", why="P-256: not on the curve") from None

    def check(data: bytes, signature: bytes) -> bool:
        r, s = int.from_bytes(signature[:_DIGEST], "big"), int.from_bytes(signature[_DIGEST:], "big")
        try:
            native.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    return check


# SM2 (GB/T 32918), recommended curve of part 5. `cryptography` has SM3 and no SM2; verifying needs no secret, so
# plain integers will do.
_Q = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = _Q - 3
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
_SM2_ID = b"1234567812345678"
_Point = tuple[int, int] | None


def _sm3(*parts: bytes) -> bytes:
    try:
        digest = hashes.Hash(hashes.SM3())
    except UnsupportedAlgorithm:
        raise NotJudgedError("algorithm", alg="SM3") from None
    for part in parts:
        digest.update(part)
    return digest.finalize()


def _add(a: _Point, b: _Point) -> _Point:
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % _Q == 0:
            return None
        slope = (3 * a[0] * a[0] + _A) * pow(2 * a[1], -1, _Q) % _Q
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _Q) % _Q
    x = (slope * slope - a[0] - b[0]) % _Q
    return x, (slope * (a[0] - x) - a[1]) % _Q


def _times(factor: int, point: _Point) -> _Point:
    made: _Point = None
    while factor:
        if factor & 1:
            made = _add(made, point)
        point = _add(point, point)
        factor >>= 1
    return made


def _sm2(x: bytes, y: bytes) -> Callable[[bytes, bytes], bool]:
    point = int.from_bytes(x, "big"), int.from_bytes(y, "big")
    if max(point) >= _Q or (point[1] ** 2 - point[0] ** 3 - _A * point[0] - _B) % _Q:
        raise EvidenceError("key", why="SM2: not on the curve")
    curve = b"".join(part.to_bytes(_DIGEST, "big") for part in (_A, _B, *_G, *point))
    about = _sm3((len(_SM2_ID) * 8).to_bytes(2, "big"), _SM2_ID, curve)

    def check(data: bytes, signature: bytes) -> bool:
        r, s = int.from_bytes(signature[:_DIGEST], "big"), int.from_bytes(signature[_DIGEST:], "big")
        total = (r + s) % _N
        if not (0 < r < _N and 0 < s < _N and total):
            return False
        found = _add(_times(s, _G), _times(total, point))
        return found is not None and (int.from_bytes(_sm3(about, data), "big") + found[0]) % _N == r

    return check


#: algorithm → the members that make a key of it (None: a coordinate), and how it verifies
_ALGORITHMS: dict[str, tuple[dict[str, str | None], Callable[..., Callable[[bytes, bytes], bool]]]] = {
    "Ed25519": ({"kty": "OKP", "crv": "Ed25519", "x": None}, _ed25519),
    "ES256": ({"kty": "EC", "crv": "P-256", "x": None, "y": None}, _es256),
    "SM2-SM3": ({"kty": "SM2", "x": None, "y": None}, _sm2),
}
_FORBIDDEN = re.compile(r"none|HS\d+|RS\d+")


@dataclass(frozen=True, slots=True)
class _Key:
    """A public key; what it may verify is decided by its own row and by nothing in a message."""

    kid: str
    alg: str
    raw: bytes
    check: Callable[[bytes, bytes], bool] = field(repr=False, compare=False)

    def holds(self, data: bytes, signature: bytes) -> bool:
        return len(signature) == _SIGNATURE and self.check(data, signature)


def _thumbprint(members: Any) -> str:
    """Return the thumbprint of a key that is given by exactly the members that make it (RFC 7638)."""
    shown = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return _b64u(hashlib.sha256(shown.encode()).digest())


def _key(jwk: Mapping[str, Any], allowed: Iterable[str], described: Iterable[str]) -> _Key:
    """Admit a public key: known algorithm, exact members, one spelling, its kid its thumbprint."""
    alg = jwk.get("alg")
    if not isinstance(alg, str) or _FORBIDDEN.fullmatch(alg) or alg not in set(allowed):
        raise EvidenceError("key", why=f"algorithm {str(alg)[:32]} not allowed")
    if alg not in _ALGORITHMS:
        raise NotJudgedError("algorithm", alg=alg[:32])
    members, load = _ALGORITHMS[alg]
    _object(jwk, "jwk", members, {"alg", *described})
    for name, fixed in members.items():
        if fixed is not None and jwk[name] != fixed:
            raise EvidenceError("key", why=name)
    parts = [
        _from_b64u(jwk[name], f"jwk.{name}", _DIGEST) for name, fixed in members.items() if fixed is None
    ]
    kid = _thumbprint({name: jwk[name] for name in members})
    if jwk.get("kid", kid) != kid:
        raise EvidenceError("key", why="kid is not the thumbprint")
    return _Key(kid, alg, b"".join(parts), load(*parts))


@dataclass(frozen=True, slots=True)
class _Token:
    """A compact JWS that was read; nothing about it is believed yet."""

    what: str
    alg: str
    kid: str
    payload: bytes
    signed: bytes
    signature: bytes

    @property
    def sha256(self) -> str:
        """What the token is called: base64url SHA-256 of header and payload; the signature has no part in it."""
        return _b64u(hashlib.sha256(self.signed).digest())

    def claims(self) -> dict[str, Any]:
        content = _strict_json(self.payload, self.what)
        if not isinstance(content, dict):
            raise EvidenceError("type", what=self.what)
        return content

    def by(self, key: _Key) -> None:
        """Refuse unless `key` signed this."""
        if self.kid != key.kid or self.alg != key.alg or not key.holds(self.signed, self.signature):
            raise EvidenceError("signature", what=self.what, kid=self.kid)


def _token(text: Any, typ: str, what: str) -> _Token:
    segments = text.split(".") if isinstance(text, str) else []
    if len(segments) != 3:  # noqa: PLR2004 — header, payload, signature
        raise EvidenceError("token", what=what, why="segments")
    head = _strict_json(_from_b64u(segments[0], what), what)
    if not isinstance(head, dict) or set(head) != {"alg", "kid", "typ"}:
        raise EvidenceError("token", what=what, why="header")
    if not all(isinstance(value, str) for value in head.values()) or head["typ"] != typ:
        raise EvidenceError("token", what=what, why="typ")
    _from_b64u(head["kid"], what, _DIGEST)
    return _Token(
        what=what,
        alg=head["alg"],
        kid=head["kid"],
        payload=_from_b64u(segments[1], what),
        signed=f"{segments[0]}.{segments[1]}".encode(),
        signature=_from_b64u(segments[2], what, _SIGNATURE),
    )


# --- Names and rights ---------------------------------------------------------------------------------------------

_ROOT = "0.NA"
_MAX_PREFIX = 64
_MAX_NAME = 255


def _fold(text: str) -> str:
    return re.sub("[a-z]", lambda letter: letter[0].upper(), text)


def _prefix(text: Any, what: str) -> str:
    """Read `0.NA/<prefix>`; return the folded prefix, or `0.NA` for the root."""
    if not isinstance(text, str) or _fold(text[:5]) != f"{_ROOT}/":
        raise EvidenceError("type", what=what)
    bare = _fold(text[5:])
    if bare == _ROOT:
        return _ROOT
    if len(bare) > _MAX_PREFIX or not re.fullmatch(r"[A-Z0-9_-]+(\.[A-Z0-9_-]+)*", bare):
        raise EvidenceError("type", what=what)
    if bare.split(".")[0] == "0":
        raise EvidenceError("type", what=what)
    return bare


def _below(prefix: str, above: str) -> bool:
    """Say whether `prefix` is `above` or under it, label by label: 88.1 is not over 88.10."""
    mine = above.split(".")
    return prefix.split(".")[: len(mine)] == mine


@dataclass(frozen=True, slots=True)
class _Right:
    prefix: str
    permission: str
    operations: frozenset[str]

    def includes(self, other: "_Right") -> bool:
        """Say whether every name of `other` is a name of this."""
        if self.permission == "derivedPrefixes":
            within = _below(other.prefix, self.prefix)
            return within and (other.permission == "derivedPrefixes" or other.prefix != self.prefix)
        same = other.prefix == self.prefix and other.permission != "derivedPrefixes"
        return same and (self.permission == "thisHandle" or other.permission != "thisHandle")

    def covers(self, identifier: str) -> bool:
        """Say whether an identifier, or a bare prefix, is among the names."""
        head, slash, tail = _fold(identifier).partition("/")
        if not slash:
            head, tail = _ROOT, head
        if not tail or len(identifier.encode()) > _MAX_NAME or re.search("[\x00-\x1f\x7f]", tail):
            return False
        record = head == _ROOT and tail != _ROOT
        about = tail if record else head
        if len(about) > _MAX_PREFIX or not re.fullmatch(r"[A-Z0-9_-]+(\.[A-Z0-9_-]+)*", about):
            return False
        if self.permission == "derivedPrefixes":
            return about != self.prefix and _below(about, self.prefix)
        return about == self.prefix and (not record or self.permission == "thisHandle")


def _granted(right: _Right, held: Sequence[_Right]) -> bool:
    around = [one for one in held if one.includes(right)]
    return bool(around) and all(
        any(operation in one.operations for one in around) for operation in right.operations
    )


# --- The root -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RootVersion:
    ver: int
    iat: int
    exp: int
    threshold: int
    algs: tuple[str, ...]
    keys: dict[str, _Key]
    tokens: tuple[_Token, ...]

    def signed_by(self, other: "_RootVersion") -> bool:
        """Say whether enough keys of `other` signed this version."""
        signers = set()
        for token in self.tokens:
            key = other.keys.get(token.kid)
            if key is not None:
                token.by(key)
                signers.add(key.kid)
        return len(signers) >= other.threshold


def _root(text: Any, number: int) -> _RootVersion:
    what = f"roots[{number}]"
    if not isinstance(text, str):
        raise EvidenceError("type", what=what)
    general = _object(_strict_json(text.encode("utf-8"), what), what, ("payload", "signatures"))
    if json.dumps(general, separators=(",", ":"), ensure_ascii=False) != text:
        raise EvidenceError("canonical")
    payload = _text(general, "payload", what)
    tokens = []
    for row in _list(general, "signatures", what, 64):
        part = _object(row, what, ("protected", "signature"))
        if list(part) != ["protected", "signature"]:
            raise EvidenceError("canonical")
        tokens.append(_token(f"{part['protected']}.{payload}.{part['signature']}", "hz-root+jws", what))
    if not tokens or list(general) != ["payload", "signatures"]:
        raise EvidenceError("canonical")
    claims = tokens[0].claims()
    _same(what, "type", claims.get("type"), "root")
    algs = _texts(claims, "algs", what, _MAX_ALGS)
    rows = claims.get("keys")
    if not isinstance(rows, dict) or not rows:
        raise EvidenceError("type", what=f"{what}.keys")
    keys = {}
    for kid, row in rows.items():
        if not isinstance(row, dict):
            raise EvidenceError("type", what=f"{what}.keys")
        keys[kid] = _key(row, algs, ("kid",))
        _same(what, "kid", kid, keys[kid].kid)
    return _RootVersion(
        ver=_number(claims, "ver", what, 1),
        iat=_number(claims, "iat", what),
        exp=_number(claims, "exp", what),
        threshold=_number(claims, "threshold", what, 1),
        algs=algs,
        keys=keys,
        tokens=tuple(tokens),
    )


def _roots(texts: Sequence[Any], anchor: str) -> tuple[_RootVersion, ...]:
    """Walk from the pinned version 1, one by one; each signed by enough of the one before and of its own keys."""
    made: list[_RootVersion] = []
    for number, text in enumerate(texts):
        root = _root(text, number)
        if root.ver != number + 1:
            raise EvidenceError("root", ver=root.ver, why=f"!= {number + 1}")
        before = made[-1] if made else root
        if not made:
            print_ = _b64u(hashlib.sha256(root.tokens[0].payload).digest())
            if print_ != anchor:
                raise EvidenceError("anchor", value=print_, right=anchor[:64])
        if not root.signed_by(root) or not root.signed_by(before):
            raise EvidenceError("root", ver=root.ver, why="threshold")
        known = [token.kid for token in root.tokens]
        if len(set(known)) != len(known) or any(k not in root.keys and k not in before.keys for k in known):
            raise EvidenceError("root", ver=root.ver, why="a signature that belongs to nobody")
        made.append(root)
    if not made:
        raise EvidenceError("root", ver=1, why="missing")
    return tuple(made)


# --- The chain ----------------------------------------------------------------------------------------------------

_CRIT = {"perms", "ver", "algs"}
_UNDERSTOOD = _CRIT | {"max_path", "state", "jwks", "ep", "iss", "sub", "iat", "nbf", "exp", "publicKey"}
_STATES = ("active", "suspended", "revoked")


@dataclass(frozen=True, slots=True)
class _KeyRow:
    key: _Key
    use: str
    nbf: int
    exp: int | None

    def good_at(self, at: int) -> bool:
        return self.nbf - _LEEWAY <= at and (self.exp is None or at <= self.exp)


#: (issuer, subject, kid) → a key that the issuer once certified for the subject
_History = dict[tuple[str, str, str], _KeyRow]


@dataclass(frozen=True, slots=True)
class _Used:
    """A key that something rests on: whose it is, and who certified it (and may revoke it)."""

    kid: str
    who: str
    certifier: str


@dataclass(frozen=True, slots=True)
class _Statement:
    token: _Token
    issuer: str
    subject: str
    iat: int
    nbf: int
    exp: int
    ver: int
    max_path: int
    algs: tuple[str, ...]
    rows: tuple[_KeyRow, ...]
    rights: tuple[_Right, ...]
    state: str
    log_vkey: str | None

    def row(self, kid: str, use: str = "sig") -> _KeyRow | None:
        return next((row for row in self.rows if row.key.kid == kid and row.use == use), None)


@dataclass(frozen=True, slots=True)
class _Chain:
    """A chain that held at one time.

    Attributes:
        statements: leaf first.
        signers: every key it rests on.
        late: its statements were signed after the time they are asked about, and vouch for keys used before.
    """

    statements: tuple[_Statement, ...]
    signers: frozenset["_Used"]
    late: bool

    @property
    def leaf(self) -> _Statement:
        return self.statements[0]

    @property
    def subject(self) -> str:
        return self.statements[0].subject

    def signed(self, token: _Token, *times: int, history: "_History | None" = None) -> "_Used":
        """Check the signature of `token` by a key of the subject in use at one of `times`; return that key.

        Args:
            token: what was signed.
            times: any of them will do.
            history: keys that have left the statement meanwhile.
        """
        row = self.leaf.row(token.kid)
        if row is None and history is not None:
            row = history.get((self.leaf.issuer, self.subject, token.kid))
        if row is None or row.use != "sig" or not any(row.good_at(at) for at in times):
            raise EvidenceError("signer", what=token.what, kid=token.kid, who=self.subject)
        token.by(row.key)
        return _Used(row.key.kid, self.subject, self.leaf.issuer)

    def log_key(self, log: "_VKey") -> "_Used":
        """Return the subject's log key as one of the keys things rest on."""
        return _Used(log.key.kid, log.name, self.leaf.issuer)


def _statement(text: Any, what: str) -> _Statement:
    token = _token(text, "hz-statement+jws", what)
    claims = token.claims()
    crit = set(_texts(claims, "crit", what, _MAX_NAMES))
    if not crit >= _CRIT or not crit <= _UNDERSTOOD or not crit <= set(claims):
        raise EvidenceError("chain", who=what, why="crit")
    index, _, handle = _text(claims, "iss", what).partition(":")
    issuer, subject = _prefix(handle, f"{what}.iss"), _prefix(claims.get("sub"), f"{what}.sub")
    if index != "300" or subject in (_ROOT, issuer):
        raise EvidenceError("chain", who=what, why="iss/sub")
    if issuer != _ROOT and not _below(subject, issuer):
        raise EvidenceError("chain", who=subject, why="not below its issuer")
    algs = _texts(claims, "algs", what, _MAX_ALGS)
    state = claims.get("state", "active")
    if state not in _STATES or ("state" in claims and "state" not in crit):
        raise EvidenceError("chain", who=subject, why="state")
    ep = claims.get("ep")
    if not isinstance(ep, dict):
        raise EvidenceError("type", what=f"{what}.ep")
    nbf, exp, max_path = (_number(claims, name, what) for name in ("nbf", "exp", "max_path"))
    if exp <= nbf or max_path >= _MAX_CHAIN:
        raise EvidenceError("chain", who=subject, why="exp <= nbf or max_path")
    return _Statement(
        token=token,
        issuer=issuer,
        subject=subject,
        iat=_number(claims, "iat", what),
        nbf=nbf,
        exp=exp,
        ver=_number(claims, "ver", what, 1),
        max_path=max_path,
        algs=algs,
        rows=_key_rows(claims, algs, what),
        rights=_rights(claims, subject, state, what),
        state=state,
        log_vkey=None if ep.get("log_vkey") is None else _text(ep, "log_vkey", what),
    )


def _key_rows(claims: Mapping[str, Any], algs: tuple[str, ...], what: str) -> tuple[_KeyRow, ...]:
    rows: list[_KeyRow] = []
    jwks = claims.get("jwks")
    for row in _list(jwks if isinstance(jwks, dict) else {}, "keys", f"{what}.jwks", 64):
        if not isinstance(row, dict) or row.get("use") not in ("sig", "log", "tls"):
            raise EvidenceError("type", what=f"{what}.jwks")
        key = _key(row, algs, ("kid", "use", "nbf", "exp"))
        if row.get("kid") != key.kid or any(other.key.kid == key.kid for other in rows):
            raise EvidenceError("chain", who=what, why="jwks")
        exp = None if row.get("exp") is None and "exp" not in row else _number(row, "exp", what)
        rows.append(_KeyRow(key, row["use"], _number(row, "nbf", what), exp))
    signing = {row.key.kid for row in rows if row.use == "sig"}
    if not signing:
        raise EvidenceError("chain", who=what, why="no signing key")
    # for readers who know no `jwks`: it must not lead them to another key
    if "publicKey" in claims and _thumbprint(claims["publicKey"]) not in signing:
        raise EvidenceError("chain", who=what, why="publicKey")
    return tuple(rows)


def _rights(claims: Mapping[str, Any], subject: str, state: str, what: str) -> tuple[_Right, ...]:
    made = []
    for row in _list(claims, "perms", what, 32):
        if not isinstance(row, dict):
            raise EvidenceError("type", what=f"{what}.perms")
        permission = row.get("perm")
        if permission not in ("thisHandle", "handlesUnderThisPrefix", "derivedPrefixes"):
            raise EvidenceError("chain", who=subject, why=f"perm {str(permission)[:32]}")
        prefix = _prefix(row.get("handle"), f"{what}.perms")
        if prefix == _ROOT or not _below(prefix, subject):
            raise EvidenceError("chain", who=subject, why="perms outside its prefix")
        made.append(_Right(prefix, permission, frozenset(_texts(row, "ops", what, _MAX_NAMES))))
    if bool(made) != (state == "active"):
        raise EvidenceError("chain", who=subject, why="perms and state")
    return tuple(made)


def _chain(tokens: Any, roots: Sequence[_RootVersion], at: int, what: str) -> _Chain:
    """Verify a chain, leaf first, as it stood at the time `at`.

    One that was signed later is judged when it began: a superior that certifies a key anew, with a life that began
    long ago, vouches for what the key signed since.
    """
    statements = _linked(tokens, what)
    who = statements[0].subject
    began = max(max(statement.nbf, statement.iat) for statement in statements)
    late = at < began - _LEEWAY
    judged = began if late else at
    root = _root_for(statements[-1], roots, judged, who)
    signers = set()
    uses = dict.fromkeys(root.keys, "root")
    for number in range(len(statements) - 1, -1, -1):
        statement = statements[number]
        above = statements[number + 1] if number + 1 < len(statements) else None
        _hold(statement, above, root)
        signers.add(_Used(statement.token.kid, statement.issuer, above.issuer if above else _ROOT))
        for row in statement.rows:
            if uses.setdefault(row.key.kid, row.use) != row.use:
                raise EvidenceError("chain", who=who, why="one key, two uses")
        if judged > statement.exp:
            raise EvidenceError("time", who=statement.subject, at=_when(judged))
    return _Chain(statements, frozenset(signers), late)


def _linked(tokens: Any, what: str) -> tuple[_Statement, ...]:
    """Read a chain whose every issuer is the subject of the next; the last one's is the root."""
    if not isinstance(tokens, list) or not 0 < len(tokens) <= _MAX_CHAIN:
        raise EvidenceError("type", what=what)
    statements = tuple(_statement(token, f"{what}[{number}]") for number, token in enumerate(tokens))
    names = [statement.subject for statement in statements]
    if len(set(names)) != len(names):
        raise EvidenceError("chain", who=names[0], why="loop")
    for statement, above in zip(statements, [*names[1:], _ROOT], strict=True):
        if statement.issuer != above:
            raise EvidenceError(
                "chain", who=names[0], why=f"{statement.subject}: {statement.issuer} != {above}"
            )
    return statements


def _root_for(top: _Statement, roots: Sequence[_RootVersion], at: int, who: str) -> _RootVersion:
    """Return the newest root, good at `at`, that has the key and was not replaced when the key signed."""
    for number in range(len(roots) - 1, -1, -1):
        root = roots[number]
        if top.token.kid not in root.keys:
            continue
        replaced = roots[number + 1].iat if number + 1 < len(roots) else None
        if at > root.exp or (replaced is not None and top.iat > replaced + _LEEWAY):
            continue
        return root
    raise EvidenceError("chain", who=who, why="no root that was good signed it")


def _hold(statement: _Statement, above: _Statement | None, root: _RootVersion) -> None:
    """One hop: signed by the superior, and no wider than it."""
    subject = statement.subject
    if above is None:
        statement.token.by(root.keys[statement.token.kid])
        algs, exp, path = root.algs, root.exp, _MAX_CHAIN
    else:
        if above.state != "active":
            raise EvidenceError("chain", who=subject, why=f"{above.subject} {above.state}")
        row = above.row(statement.token.kid)
        if row is None or not row.good_at(statement.iat):
            raise EvidenceError(
                "signer", what=statement.token.what, kid=statement.token.kid, who=above.subject
            )
        statement.token.by(row.key)
        algs, exp, path = above.algs, above.exp, above.max_path
        wanted = (_Right(subject, "thisHandle", frozenset()), *statement.rights)
        if not all(_granted(right, above.rights) for right in wanted):
            raise EvidenceError("chain", who=subject, why="wider perms")
    if statement.max_path >= path or statement.exp > exp or not set(statement.algs) <= set(algs):
        raise EvidenceError("chain", who=subject, why="wider max_path, exp or algs")


# --- The log ------------------------------------------------------------------------------------------------------


def _leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Say whether the leaf hash `leaf` stands at `index` in the tree of `size` leaves under `root` (RFC 6962)."""
    if not 0 <= index < size or any(len(part) != _DIGEST for part in path):
        return False
    here, last, made = index, size - 1, leaf
    for part in path:
        if last == 0:
            return False
        if here & 1 or here == last:
            made = hashlib.sha256(b"\x01" + part + made).digest()
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            made = hashlib.sha256(b"\x01" + made + part).digest()
        here, last = here >> 1, last >> 1
    return last == 0 and made == root


@dataclass(frozen=True, slots=True)
class _VKey:
    """A verifier key of a signed note: name, 4-byte id, type and key."""

    name: str
    id: bytes
    kind: int
    key: _Key


def _vkey(text: str) -> _VKey:
    name, _, rest = text.partition("+")
    number, _, material = rest.partition("+")
    raw = _from_b64(material, "vkey", _DIGEST + 1)
    if not name or re.search(r"\s", name) or raw[0] not in (1, 4):
        raise EvidenceError("note", why="vkey")
    made = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if made.hex() != number:
        raise EvidenceError("note", why="vkey")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _b64u(raw[1:]), "alg": "Ed25519"}
    return _VKey(name, made, raw[0], _key(jwk, ("Ed25519",), ()))


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: dict[tuple[str, bytes], bytes]

    def signature(self, vkey: _VKey) -> bytes | None:
        return self.signatures.get((vkey.name, vkey.id))

    def logged_by(self, vkey: _VKey) -> None:
        """Refuse unless the log's own key signed."""
        signature = self.signature(vkey)
        if vkey.kind != 1 or vkey.name != self.origin or signature is None:
            raise EvidenceError("note", why=f"{vkey.name} != {self.origin}")
        if not vkey.key.holds(self.text, signature):
            raise EvidenceError("signature", what="checkpoint", kid=vkey.key.kid)

    def witnessed_by(self, vkey: _VKey) -> int | None:
        """Return the time of a witness's cosignature; None when there is none; refuse a wrong one."""
        signature = self.signature(vkey)
        if signature is None:
            return None
        at = int.from_bytes(signature[:8], "big")
        message = b"cosignature/v1\ntime %d\n" % at + self.text
        if vkey.kind != 4 or at > _MAX_INTEGER or not vkey.key.holds(message, signature[8:]):  # noqa: PLR2004 — type 04
            raise EvidenceError("signature", what=f"cosignature {vkey.name}", kid=vkey.key.kid)
        return at


def _note(text: str) -> _Checkpoint:
    body, found, tail = text.rpartition("\n\n")
    rows = tail.split("\n")
    if (
        not found
        or rows[-1]
        or not 1 < len(rows) <= _MAX_NOTE_LINES
        or re.search("[\x00-\x09\x0b-\x1f\x7f]", text)
    ):
        raise EvidenceError("note", why="form")
    signatures: dict[tuple[str, bytes], bytes] = {}
    for row in rows[:-1]:
        form = re.fullmatch(r"— ([^\s+]+) (\S+)", row)
        if form is None:
            raise EvidenceError("note", why="signature line")
        raw = _from_b64(form[2], "checkpoint")
        name = form[1], raw[:4]
        if len(raw) <= 4 or name in signatures:  # noqa: PLR2004 — the key id
            raise EvidenceError("note", why="signature line")
        signatures[name] = raw[4:]
    lines = body.split("\n")
    if len(lines) != 3 or not lines[0] or not re.fullmatch(r"0|[1-9]\d{0,15}", lines[1], re.ASCII):  # noqa: PLR2004 — origin, size, root
        raise EvidenceError("note", why="form")
    root = _from_b64(lines[2], "checkpoint", _DIGEST)
    return _Checkpoint(lines[0], int(lines[1]), root, f"{body}\n".encode(), signatures)


@dataclass(frozen=True, slots=True)
class _Proof:
    index: int
    path: tuple[bytes, ...]
    checkpoint: _Checkpoint


def _proof(text: Any, what: str) -> _Proof:
    """Read a tlog-proof. An `extra` line is refused: nothing would vouch for it."""
    head, found, note = text.partition("\n\n") if isinstance(text, str) else ("", "", "")
    lines = head.split("\n")
    form = re.fullmatch(r"index (0|[1-9]\d{0,15})", lines[1], re.ASCII) if len(lines) > 1 else None
    if not found or lines[0] != "c2sp.org/tlog-proof@v1" or form is None:
        raise EvidenceError("type", what=what)
    path = tuple(_from_b64(line, what, _DIGEST) for line in lines[2:])
    return _Proof(int(form[1]), path, _note(note))


@dataclass(frozen=True, slots=True)
class _Witness:
    vkey: _VKey
    chain: Any


@dataclass(frozen=True, slots=True)
class _Seen:
    """A witness's word: when, by whom, and the keys its word rests on."""

    at: int
    name: str
    who: str
    keys: frozenset[_Used]


@dataclass(slots=True)
class _Case:
    """What all parts of one file share, and what is found on the way."""

    roots: tuple[_RootVersion, ...]
    revoked: dict[tuple[str, str], "_Revoked"]
    history: _History
    witnesses: tuple[_Witness, ...]
    require_witness: bool
    consulted: set[int] = field(default_factory=set)
    notices: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def note(self, code: str, **params: object) -> None:
        """Remember what does not refute and should still be told."""
        if (code, params) not in self.notices:
            self.notices.append((code, params))


def _logged(case: _Case, leaf: bytes, proof: _Proof, owner: _Chain, what: str) -> tuple[_Seen, ...]:
    """Refuse unless the leaf is in the owner's log, signed with its certified key; return who witnessed it."""
    if not check_inclusion(
        _leaf_hash(leaf), proof.index, proof.checkpoint.size, proof.path, proof.checkpoint.root
    ):
        raise EvidenceError("inclusion", what=what)
    if owner.leaf.log_vkey is None:
        raise EvidenceError("log_key", who=owner.subject)
    log = _vkey(owner.leaf.log_vkey)
    if any(row.key.kid == log.key.kid and row.use != "log" for row in owner.leaf.rows):
        raise EvidenceError("chain", who=owner.subject, why="one key, two uses")
    proof.checkpoint.logged_by(log)
    known = {(log.name, log.id)}
    seen = []
    for number, witness in enumerate(case.witnesses):
        at = proof.checkpoint.witnessed_by(witness.vkey)
        if at is None:
            continue
        known.add((witness.vkey.name, witness.vkey.id))
        case.consulted.add(number)
        seen.append(_certified(case, witness, at, owner, log))
    if set(proof.checkpoint.signatures) - known:
        raise EvidenceError("note", why="a signature of nobody known")
    return tuple(sorted(seen, key=lambda one: one.at))


def _certified(case: _Case, witness: _Witness, at: int, owner: _Chain, log: _VKey) -> _Seen:
    """Refuse unless the witness's key is certified under the same root, for another than the log's owner."""
    chain = _chain(witness.chain, case.roots, at, "witness")
    kid = witness.vkey.key.kid
    if chain.subject == owner.subject or kid == log.key.kid:
        raise EvidenceError("witness", who=chain.subject, why="the log's own")
    row = chain.leaf.row(kid, "log")
    stated = None if chain.leaf.log_vkey is None else _vkey(chain.leaf.log_vkey).key.kid
    if (row is None and stated != kid) or (row is not None and not row.good_at(at)):
        raise EvidenceError("witness", who=chain.subject, why="key not certified")
    return _Seen(at, witness.vkey.name, chain.subject, chain.signers | {chain.log_key(witness.vkey)})


# --- Revocations --------------------------------------------------------------------------------------------------


#: Why a key was revoked, the strictest last; every other reason is read as that one.
_REVOKED_AS = ("superseded", "cessation", "compromise")
_SUPERSEDED, _CEASED, _STOLEN = range(len(_REVOKED_AS))


@dataclass(frozen=True, slots=True)
class _Revoked:
    """What an issuer said against a key: since when, why, and the last position it is good for on each stream."""

    at: int
    reason: int
    last_good: dict[str, tuple[int, int]]

    def merged(self, other: "_Revoked") -> "_Revoked":
        """Return the stricter of each: what was said once is never taken back."""
        mine, its = self.last_good, other.last_good
        both = {name: min(mine.get(name, (0, 0)), its.get(name, (0, 0))) for name in {*mine, *its}}
        reason = max(self.reason, other.reason)
        if reason == _SUPERSEDED and not (mine and its):
            reason = _CEASED
        return _Revoked(min(self.at, other.at), reason, both if mine and its else mine or its)


def _lists(content: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(content, list) or len(content) > 1000:  # noqa: PLR2004 — more lists than tiers and years have
        raise EvidenceError("type", what=what)
    return [_object(row, what, ("token", "chain")) for row in content]


def _list_by(
    row: Mapping[str, Any], typ: str, roots: Sequence[_RootVersion], what: str
) -> tuple[str, dict[str, Any]]:
    """Verify a signed list by the chain of its issuer (empty: by a key of a root); return issuer and claims."""
    token = _token(row["token"], typ, what)
    claims = token.claims()
    issuer = _prefix(_text(claims, "iss", what).rpartition(":")[2], f"{what}.iss")
    at = _number(claims, "iat", what)
    if issuer == _ROOT:
        if row["chain"] != []:
            raise EvidenceError("type", what=f"{what}.chain")
        signer = next((root.keys[token.kid] for root in reversed(roots) if token.kid in root.keys), None)
        if signer is None:
            raise EvidenceError("signer", what=what, kid=token.kid, who=_ROOT)
        token.by(signer)
        return issuer, claims
    chain = _chain(row["chain"], roots, at, f"{what}.chain")
    _same(what, "iss", issuer, chain.subject)
    chain.signed(token, at)
    return issuer, claims


def _revocations(
    rows: Sequence[Mapping[str, Any]], roots: Sequence[_RootVersion]
) -> dict[tuple[str, str], _Revoked]:
    """Read every list: (issuer, kid) → what was said. Only who certified a key can revoke it."""
    made: dict[tuple[str, str], _Revoked] = {}
    for row in rows:
        issuer, claims = _list_by(row, "hz-revocation+jws", roots, "revocations")
        _number(claims, "ver", "revocations", 1)
        for entry in _list(claims, "revoked", "revocations", 100_000):
            if not isinstance(entry, dict):
                raise EvidenceError("type", what="revocations.revoked")
            last = entry.get("last_good", {})
            if not isinstance(last, dict) or not all(isinstance(one, dict) for one in last.values()):
                raise EvidenceError("type", what="revocations.last_good")
            one = _Revoked(
                at=_number(entry, "revoked_at", "revocations"),
                reason=_reason(entry.get("reason")),
                last_good={
                    stream: (_number(place, "epoch", "last_good"), _number(place, "seq", "last_good"))
                    for stream, place in last.items()
                },
            )
            name = issuer, _text(entry, "kid", "revocations")
            made[name] = made[name].merged(one) if name in made else one
    return made


def _reason(word: Any) -> int:
    return _REVOKED_AS.index(word) if word in _REVOKED_AS else _STOLEN


def _histories(
    rows: Sequence[Mapping[str, Any]],
    roots: Sequence[_RootVersion],
    revoked: dict[tuple[str, str], _Revoked],
) -> _History:
    """Read the lists of all keys ever used; those marked revoked there, and by no list, count as stolen."""
    made: _History = {}
    for row in rows:
        issuer, claims = _list_by(row, "hz-keys+jws", roots, "historical")
        subject = _prefix(claims.get("sub"), "historical.sub")
        for entry in _list(claims, "keys", "historical", 100_000):
            if not isinstance(entry, dict) or entry.get("use") not in ("sig", "log", "tls"):
                raise EvidenceError("type", what="historical.keys")
            key = _key(entry, (*_ALGORITHMS, str(entry.get("alg"))), ("kid", "use", "iat", "exp", "revoked"))
            exp = _number(entry, "exp", "historical") if "exp" in entry else None
            made[issuer, subject, key.kid] = _KeyRow(
                key, entry["use"], _number(entry, "iat", "historical"), exp
            )
            if "revoked" in entry:
                at = _number(entry, "revoked", "historical")
                revoked.setdefault((issuer, key.kid), _Revoked(at, reason=_STOLEN, last_good={}))
    return made


def _require_unrevoked(
    case: _Case, keys: Iterable[_Used], seen: Sequence[_Seen], receipt: "_Receipt", sender: _Used
) -> None:
    """Refuse what rests on a revoked key, unless it stands all the same.

    Where the last positions of a key are told they are complete: nothing of its holder stands behind them, or in a
    stream that is not named. Up to there what a superseded key signed is good, however late it arrived. Else it
    stands when somebody independent witnessed it before the revocation; unless the key was stolen, also when it was
    received before.
    """
    free = [one.at for one in seen if not any((key.certifier, key.kid) in case.revoked for key in one.keys)]
    stream, *place = receipt.position
    for key in sorted(keys, key=lambda one: (one.who, one.kid)):
        found = case.revoked.get((key.certifier, key.kid))
        if found is None:
            continue
        placed = key == sender and bool(found.last_good)
        last = found.last_good.get(stream)
        if placed and (last is None or tuple(place) > last):
            raise EvidenceError("beyond", kid=key.kid, stream=stream, last=last, value=tuple(place))
        stands = (placed and found.reason == _SUPERSEDED) or any(at < found.at for at in free)
        if found.reason != _STOLEN:
            stands = stands or receipt.received_at < found.at
        if not stands:
            raise EvidenceError("revoked", kid=key.kid, role=key.who, at=_when(found.at))
        case.note("revoked_later", kid=key.kid, at=_when(found.at))


# --- Envelope, receipt, leaf --------------------------------------------------------------------------------------

_STREAMS = ("alarm", "control", "register", "flow", "catalogue", "report", "query")
_NAMED = frozenset({"identifier", "identifiers", "subject", "prefix", "handle"})
_ACCEPTED = ("accepted", "unapplied")


@dataclass(frozen=True, slots=True)
class _Envelope:
    token: _Token
    iss: str
    aud: str
    position: tuple[str, int, int]
    iat: int
    claims: dict[str, Any]
    body: Any
    raw_body: bytes | None


@dataclass(frozen=True, slots=True)
class _Receipt:
    token: _Token
    iss: str
    aud: str
    position: tuple[str, int, int]
    claims: dict[str, Any]
    outcome: str
    received_at: int
    index: int


def _position(claims: Mapping[str, Any], what: str) -> tuple[str, int, int]:
    stream = _text(claims, "stream", what)
    if stream not in _STREAMS:
        raise EvidenceError("type", what=f"{what}.stream")
    return stream, _number(claims, "epoch", what, 1), _number(claims, "seq", what, 1)


def _receipt(text: Any, what: str) -> _Receipt:
    token = _token(text, "hz-receipt+jws", what)
    claims = token.claims()
    outcome = _text(claims, "outcome", what)
    if outcome not in (*_ACCEPTED, "rejected"):
        raise EvidenceError("outcome", value=outcome[:32])
    for name in ("env", "leaf"):
        _from_b64u(claims.get(name), f"{what}.{name}", _DIGEST)
    return _Receipt(
        token=token,
        iss=_prefix(claims.get("iss"), f"{what}.iss"),
        aud=_prefix(claims.get("aud"), f"{what}.aud"),
        position=_position(claims, what),
        claims=claims,
        outcome=outcome,
        received_at=_number(claims, "received_at", what),
        index=_number(claims, "leaf_index", what),
    )


def _envelope(token: _Token, body: Any, what: str) -> _Envelope:
    """Read an envelope whose signature holds; `body` is the detached one (base64url), if the file has it."""
    claims = token.claims()
    raw = None if body is None else _from_b64u(body, f"{what}.body")
    inline = "body" in claims
    if inline == ("body_sha256" in claims) or (inline and raw is not None):
        raise EvidenceError("members", what=what, name="body")
    content = claims.get("body")
    if raw is not None:
        _same(what, "body_sha256", _b64u(hashlib.sha256(raw).digest()), claims["body_sha256"])
        _same(what, "body_len", len(raw), claims.get("body_len"))
        if "json" in _text(claims, "body_type", what):
            content = _strict_json(raw, f"{what}.body")
    for name in ("prev", "jti", "type", "schema"):
        _text(claims, name, what)
    return _Envelope(
        token=token,
        iss=_prefix(claims.get("iss"), f"{what}.iss"),
        aud=_prefix(claims.get("aud"), f"{what}.aud"),
        position=_position(claims, what),
        iat=_number(claims, "iat", what),
        claims=claims,
        body=content,
        raw_body=raw,
    )


def _identifiers(body: Any) -> Iterable[str]:
    """Find every identifier of a body: the texts under the members that hold such, at any depth."""
    waiting = [(False, body)]
    while waiting:
        named, item = waiting.pop()
        if isinstance(item, list):
            waiting += [(named, one) for one in item]
        elif isinstance(item, dict):
            waiting += [(name in _NAMED, one) for name, one in item.items()]
        elif named and isinstance(item, str):
            yield item


def _entitled(chain: _Chain, envelope: _Envelope) -> None:
    """Refuse when the sender had no right to what it sent: the stream, and every identifier in the body.

    `control` needs no operation; the names in it must be the sender's all the same.
    """
    stream = envelope.position[0]
    held = [right for right in chain.leaf.rights if stream == "control" or stream in right.operations]
    if not held and stream != "control":
        raise EvidenceError("rights", who=chain.subject, what=stream)
    for identifier in _identifiers(envelope.body):
        if not any(right.covers(identifier) for right in held):
            raise EvidenceError("rights", who=chain.subject, what=f"{stream} {identifier[:128]}")


_LEAF = ("v", "kind", "env", "iss", "aud", "stream", "epoch", "seq", "at")
_LEAF_MORE = ("outcome", "code", "rcpt", "sm3")


def _leaf(text: Any, what: str, expected: Mapping[str, Any], signed: bytes) -> bytes:
    """Return the bytes of a leaf that says exactly what is expected of it."""
    raw = _from_b64u(text, what)
    content = _object(_strict_json(raw, what), what, _LEAF, _LEAF_MORE)
    for name in content.keys() & {"iss", "aud"}:
        content[name] = _prefix(content[name], f"{what}.{name}")
    shown = content.pop("sm3", None)
    if shown is not None:
        _same(what, "sm3", shown, _b64u(_sm3(signed)))
    for name, right in {"v": 1, **expected}.items():
        if name in content or name not in _LEAF_MORE:
            _same(what, name, content.get(name), right)
    for name in content:
        if name != "v" and name not in expected:
            raise EvidenceError("members", what=what, name=name)
    return raw


# --- The whole ----------------------------------------------------------------------------------------------------

_PART = ("sender_chain", "receiver_chain", "receipt", "leaf", "proof")
_PART_MORE = ("body", "sender_leaf", "sender_proof", "ack_leaf", "ack_proof", "inner")
_FILE = ("type", "anchor", "roots", "envelope", "revocations", "historical", "witnesses")


@dataclass(frozen=True, slots=True)
class _Part:
    """The file, or the inner evidence inside it: its members, and where they stand."""

    content: Mapping[str, Any]
    what: str = ""
    level: int = 0


def _exchange(case: _Case, part: _Part, text: Any) -> dict[str, Any]:
    """Check one envelope and its receipt; return what they say."""
    content, what = part.content, part.what
    receipt = _receipt(content["receipt"], f"{what}receipt")
    at = receipt.received_at
    receiver = _chain(content["receiver_chain"], case.roots, at, f"{what}receiver_chain")
    sender = _chain(content["sender_chain"], case.roots, at, f"{what}sender_chain")
    received_by = receiver.signed(receipt.token, at, history=case.history)
    _same(receipt.token.what, "iss", receipt.iss, receiver.subject)
    _same(receipt.token.what, "aud", receipt.aud, sender.subject)
    token = _token(text, "hz-envelope+jws", f"{what}envelope")
    _same(receipt.token.what, "env", receipt.claims["env"], token.sha256)
    readable = (receipt.outcome, receipt.claims.get("code")) != ("rejected", "bad_json")
    envelope = _sent(sender, receiver, receipt, token, content) if readable else None
    times = (at,) if envelope is None else (at, min(envelope.iat, at + _LEEWAY))
    sent_by = sender.signed(token, *times, history=case.history)
    if envelope is not None and receipt.outcome in _ACCEPTED:
        _entitled(sender, envelope)
    seen, proof = _received(case, part, receipt, receiver, token)
    log = receiver.log_key(_vkey(receiver.leaf.log_vkey or ""))
    keys = {*sender.signers, *receiver.signers, sent_by, received_by, log}
    _require_unrevoked(case, keys, seen, receipt, sent_by)
    if sender.late or receiver.late:
        case.note("certified_later")
    facts = _facts(receipt, envelope, token, proof, seen)
    facts |= _own_log(case, part, sender, receipt, token, envelope=envelope)
    if envelope is not None and envelope.claims["type"] == "relay":
        facts["inner"] = _relayed(case, part, envelope, receipt, seen)
    elif "inner" in content:
        raise EvidenceError("relay", why="inner evidence of something that is no relay")
    _tell(case, receipt, envelope, seen)
    return facts


def _sent(
    sender: _Chain, receiver: _Chain, receipt: _Receipt, token: _Token, content: Mapping[str, Any]
) -> _Envelope:
    """Read the envelope and hold it against both chains and the receipt."""
    envelope = _envelope(token, content.get("body"), token.what)
    _same(token.what, "iss", envelope.iss, sender.subject)
    _same(token.what, "aud", envelope.aud, receiver.subject)
    _same(token.what, "position", envelope.position, receipt.position)
    return envelope


def _received(
    case: _Case, part: _Part, receipt: _Receipt, receiver: _Chain, token: _Token
) -> tuple[tuple[_Seen, ...], _Proof]:
    """Check that the receipt stands in the receiver's log; return who witnessed that."""
    content, what = part.content, part.what
    stream, epoch, seq = receipt.position
    expected = {
        "kind": "in",
        "env": token.sha256,
        "iss": receipt.aud,
        "aud": receipt.iss,
        "stream": stream,
        "epoch": epoch,
        "seq": seq,
        "at": receipt.received_at,
        "outcome": receipt.outcome,
        "code": receipt.claims.get("code"),
    }
    leaf = _leaf(content["leaf"], f"{what}leaf", expected, token.signed)
    proof = _proof(content["proof"], f"{what}proof")
    _same(receipt.token.what, "leaf", receipt.claims["leaf"], _b64u(_leaf_hash(leaf)))
    _same(receipt.token.what, "leaf_index", receipt.index, proof.index)
    seen = _logged(case, leaf, proof, receiver, f"{what}leaf")
    # what the sender's own log says needs no witness: it proves nothing against anybody else
    if not seen and case.require_witness:
        raise EvidenceError("unwitnessed")
    if seen and seen[0].at < receipt.received_at - _LEEWAY:
        raise EvidenceError("early", at=_when(seen[0].at), received=_when(receipt.received_at))
    return seen, proof


def _own_log(
    case: _Case, part: _Part, sender: _Chain, receipt: _Receipt, token: _Token, *, envelope: _Envelope | None
) -> dict[str, Any]:
    """Check what the sender's own log says of sending and of the receipt, where the file has it."""
    content, what = part.content, part.what
    stream, epoch, seq = receipt.position
    common = {
        "env": token.sha256,
        "iss": receipt.aud,
        "aud": receipt.iss,
        "stream": stream,
        "epoch": epoch,
        "seq": seq,
    }
    found: dict[str, Any] = {}
    for name, kind in (("sender", "out"), ("ack", "ack")):
        given = [part for part in (f"{name}_leaf", f"{name}_proof") if part in content]
        if not given:
            continue
        if len(given) == 1 or (kind == "out" and envelope is None):
            raise EvidenceError("members", what=what, name=given[0])
        more: dict[str, Any] = {"at": envelope.iat} if kind == "out" and envelope else {}
        if kind == "ack":
            claims = receipt.claims
            more = {"at": receipt.received_at, "rcpt": receipt.token.sha256}
            more |= {"outcome": receipt.outcome, "code": claims.get("code")}
        leaf = _leaf(content[given[0]], f"{what}{given[0]}", {"kind": kind, **common, **more}, token.signed)
        proof = _proof(content[given[1]], f"{what}{given[1]}")
        witnessed = _logged(case, leaf, proof, sender, f"{what}{given[0]}")
        found[f"{name}_log"] = _place(proof, witnessed)
    return found


def _relayed(
    case: _Case, part: _Part, outer: _Envelope, receipt: _Receipt, seen: Sequence[_Seen]
) -> dict[str, Any]:
    """Check the token that a relay carries: by its own evidence, or by the chain that travelled with it."""
    if part.level >= _MAX_RELAYS:
        raise EvidenceError("relay", why="too many")
    what, evidence = f"{part.what}inner.", part.content.get("inner")
    if outer.body is None:
        raise EvidenceError("relay", why="body missing")
    carried = _object(outer.body, f"{part.what}body", ("token", "chain"), ("body",))
    if evidence is not None:
        _object(evidence, what, _PART, _PART_MORE)
        if "body" in evidence:
            raise EvidenceError("members", what=what, name="body")
        with_body = {**evidence, **{name: carried[name] for name in carried.keys() & {"body"}}}
        facts = _exchange(case, _Part(with_body, what, part.level + 1), carried["token"])
        _same(f"{what}envelope", "aud", facts["receiver"], outer.iss)
        return facts
    token = _token(carried["token"], "hz-envelope+jws", f"{what}envelope")
    envelope = _envelope(token, carried.get("body"), token.what)
    # whoever took it in first is not asked here; the relay's word is that it was in order then
    at = min(envelope.iat, receipt.received_at)
    chain = _chain(carried["chain"], case.roots, at, f"{what}chain")
    sent_by = chain.signed(token, at, receipt.received_at, history=case.history)
    _same(token.what, "iss", envelope.iss, chain.subject)
    _same(token.what, "aud", envelope.aud, outer.iss)
    _entitled(chain, envelope)
    inner = replace(receipt, position=envelope.position)
    _require_unrevoked(case, {*chain.signers, sent_by}, seen, inner, sent_by)
    facts = _said_by(envelope)
    if envelope.claims["type"] == "relay":
        facts["inner"] = _relayed(case, _Part({}, what, part.level + 1), envelope, receipt, seen)
    return facts


def _said_by(envelope: _Envelope) -> dict[str, Any]:
    stream, epoch, seq = envelope.position
    claims = envelope.claims
    return {
        "sender": envelope.iss,
        "receiver": envelope.aud,
        "stream": stream,
        "epoch": epoch,
        "seq": seq,
        "env": envelope.token.sha256,
        "type": claims["type"],
        "schema": claims["schema"],
        "jti": claims["jti"],
        "sent_at": envelope.iat,
        "body_sha256": claims.get("body_sha256"),
        "body": envelope.body,
    }


def _place(proof: _Proof, seen: Sequence[_Seen]) -> dict[str, Any]:
    return {
        "origin": proof.checkpoint.origin,
        "index": proof.index,
        "size": proof.checkpoint.size,
        "root": base64.b64encode(proof.checkpoint.root).decode(),
        "witnesses": [{"name": one.name, "prefix": one.who, "at": one.at} for one in seen],
    }


def _facts(
    receipt: _Receipt, envelope: _Envelope | None, token: _Token, proof: _Proof, seen: Sequence[_Seen]
) -> dict[str, Any]:
    stream, epoch, seq = receipt.position
    known = {"sender": receipt.aud, "receiver": receipt.iss, "stream": stream, "epoch": epoch, "seq": seq}
    return {
        **(known | {"env": token.sha256} if envelope is None else _said_by(envelope)),
        "outcome": receipt.outcome,
        "code": receipt.claims.get("code"),
        "received_at": receipt.received_at,
        "log": _place(proof, seen),
    }


def _tell(case: _Case, receipt: _Receipt, envelope: _Envelope | None, seen: Sequence[_Seen]) -> None:
    """Note what does not refute the evidence and a reader should still know."""
    received = receipt.received_at
    if envelope is not None and abs(envelope.iat - received) > _WORTH_TELLING:
        case.note("clocks", sent=_when(envelope.iat), received=_when(received))
    if envelope is not None and "body_sha256" in envelope.claims and envelope.raw_body is None:
        case.note("body_elsewhere", digest=envelope.claims["body_sha256"])
    if not seen:
        case.note("unwitnessed")
    elif seen[0].at - received > _WORTH_TELLING:
        case.note("witnessed_late", at=_when(seen[0].at), received=_when(received))
    if receipt.outcome != "accepted":
        case.note(receipt.outcome, why=receipt.claims.get("code"))


_NOTICES: dict[str, tuple[str, str]] = {
    "revoked_later": (
        "密钥 {kid} 于 {at} 被吊销，本文件所证仍然成立",
        "the key {kid} was revoked at {at}; what is proved here stands all the same",
    ),
    "no_lists": (
        "文件中没有吊销清单：密钥后来是否被吊销，本结论不作判断",
        "the file has no revocation list: whether a key was revoked later is not judged here",
    ),
    "list": (
        "已查吊销清单：{iss} 第 {ver} 版，签发于 {at}",
        "revocation list of {iss}, version {ver}, signed {at}",
    ),
    "certified_later": (
        "信任链签发于接收之后；它为此前已启用的密钥作证",
        "a chain was signed after the receipt; it vouches for keys whose lives began before",
    ),
    "clocks": (
        "发送方时钟 {sent} 与接收方 {received} 相差一天以上",
        "the sender's clock ({sent}) and the receiver's ({received}) differ by more than a day",
    ),
    "body_elsewhere": (
        "正文不在文件中：只证明其摘要 {digest}",
        "the body is not in the file: only its digest {digest} is proved",
    ),
    "unwitnessed": (
        "没有见证方：时间与日志只有接收方自己的话为证",
        "no witness: time and log rest on the receiver's word alone",
    ),
    "witnessed_late": (
        "接收时间 {received} 出自接收方；独立见证始于 {at}",
        "the time of receipt {received} is the receiver's word; independently witnessed from {at} on",
    ),
    "unapplied": (
        "接收方已保存，当时尚不认识其类型（{why}）",
        "the receiver kept it and did not know its type at that time ({why})",
    ),
    "rejected": (
        "接收方收到后最终拒绝（{why}）",
        "the receiver received it and refused it for good ({why})",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What the verifier says.

    Attributes:
        holds: whether every check held.
        error: the first that did not; None when all held.
        facts: who sent what when, and where its receipt stands; empty when it does not hold.
        notices: (code, parameters) of what a reader should know besides.
    """

    holds: bool
    error: EvidenceError | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    notices: tuple[tuple[str, dict[str, object]], ...] = ()

    @property
    def status(self) -> int:
        """The exit status: 0 it holds, 1 it does not, 2 it was not judged."""
        if self.holds:
            return 0
        return 2 if isinstance(self.error, NotJudgedError) else 1

    def text(self, language: str) -> str:
        """Return the finding in plain words, `zh` or `en`."""
        if self.error is not None:
            head = _VERDICT["unknown" if self.status == 2 else "no"]  # noqa: PLR2004 — status of this very class
            return _said(head, language, {"why": self.error.text(language)})
        lines = [_said(_VERDICT["yes"], language, {})]
        facts: dict[str, Any] | None = self.facts
        while facts is not None:
            lines += _told(facts, language)
            facts = facts.get("inner")
        lines += [f"- {_said(_NOTICES[code], language, params)}" for code, params in self.notices]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the finding for programs."""
        return {
            "holds": self.holds,
            "judged": self.status != 2,  # noqa: PLR2004 — status of this very class
            "code": self.error.code if self.error else "ok",
            "detail_zh": self.text("zh"),
            "detail_en": self.text("en"),
            "notices": [{"code": code, **params} for code, params in self.notices],
            "facts": self.facts,
        }


_VERDICT: dict[str, tuple[str, str]] = {
    "yes": ("成立。", "IT HOLDS."),
    "no": ("不成立：{why}。", "IT DOES NOT HOLD: {why}."),
    "unknown": ("未作判断：{why}。", "NOT JUDGED: {why}."),
    "sent": (
        "{sender} 签名发给 {receiver}：{place}，类型 {type}（{schema}），时间 {sent}，信封 {env}。",
        "{sender} signed and sent to {receiver}: {place}, type {type} ({schema}), dated {sent}, envelope {env}.",
    ),
    "unread": (
        "{sender} 签名发给 {receiver}：{place}，内容不可读，信封 {env}。",
        "{sender} signed and sent to {receiver}: {place}, unreadable content, envelope {env}.",
    ),
    "received": (
        "{receiver} 于 {received} 签收，结果 {outcome}（{code}）；日志 {origin} 第 {index} 条，检查点 {size} 条。",
        "{receiver} signed for it at {received}: {outcome} ({code}); entry {index} of log {origin}, size {size}.",
    ),
    "place": ("流 {stream}，纪元 {epoch}，序号 {seq}", "stream {stream}, epoch {epoch}, number {seq}"),
    "witnessed": ("见证：{prefix}（{name}），{time}。", "Witnessed by {prefix} ({name}) at {time}."),
}


def _told(facts: Mapping[str, Any], language: str) -> list[str]:
    params = {**facts, "sent": _when(facts.get("sent_at")), "received": _when(facts.get("received_at"))}
    params["place"] = _said(_VERDICT["place"], language, facts)
    lines = [_said(_VERDICT["sent" if "type" in facts else "unread"], language, params)]
    if "log" in facts:
        lines.append(_said(_VERDICT["received"], language, {**params, **facts["log"]}))
        lines += [
            _said(_VERDICT["witnessed"], language, {**one, "time": _when(one["at"])})
            for one in facts["log"]["witnesses"]
        ]
    return lines


def _when(at: Any) -> str:
    """Write POSIX seconds as UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError, TypeError):
        return str(at)


def verify(
    data: bytes, anchor: str, *, revocations: Sequence[Mapping[str, Any]] = (), require_witness: bool = True
) -> Finding:
    """Judge a file of evidence.

    Args:
        data: the file.
        anchor: base64url SHA-256 of the first root's payload, known from elsewhere.
        revocations: lists beside those of the file, each `{"token", "chain"}`.
        require_witness: without a certified witness nothing holds.
    """
    try:
        return _judged(data, anchor, revocations, require_witness=require_witness)
    except EvidenceError as error:
        return Finding(holds=False, error=error)


def _judged(
    data: bytes, anchor: str, revocations: Sequence[Mapping[str, Any]], *, require_witness: bool
) -> Finding:
    if len(data) > _MAX_FILE:
        raise EvidenceError("size", limit=_MAX_FILE)
    content = _strict_json(data, "file")
    if not isinstance(content, dict) or canonical(content) != data:
        raise EvidenceError("canonical")
    if content.get("type") != EVIDENCE_TYPE:
        raise NotJudgedError("version", value=str(content.get("type"))[:64])
    _object(content, "file", (*_FILE, *_PART), _PART_MORE)
    if content["anchor"] != anchor:
        raise EvidenceError("anchor", value=str(content["anchor"])[:64], right=anchor[:64])
    roots = _roots(_list(content, "roots", "file", _MAX_ROOTS), anchor)
    lists = [*_lists(content["revocations"], "revocations"), *_lists(list(revocations), "revocations")]
    revoked = _revocations(lists, roots)
    case = _Case(
        roots=roots,
        history=_histories(_lists(content["historical"], "historical"), roots, revoked),
        revoked=revoked,
        witnesses=_witnesses(content),
        require_witness=require_witness,
    )
    facts = _exchange(case, _Part(content), content["envelope"])
    for number, witness in enumerate(case.witnesses):
        if number not in case.consulted:
            raise EvidenceError("witness", who=witness.vkey.name, why="witnessed nothing here")
    _list_notices(case, lists)
    return Finding(holds=True, facts=facts, notices=tuple(case.notices))


def _witnesses(content: Mapping[str, Any]) -> tuple[_Witness, ...]:
    rows = [
        _object(row, "witnesses", ("vkey", "chain"))
        for row in _list(content, "witnesses", "file", _MAX_NOTE_LINES)
    ]
    made = tuple(_Witness(_vkey(_text(row, "vkey", "witnesses")), row["chain"]) for row in rows)
    if len({(one.vkey.name, one.vkey.id) for one in made}) != len(made):
        raise EvidenceError("members", what="witnesses", name="vkey")
    return made


def _list_notices(case: _Case, lists: Sequence[Mapping[str, Any]]) -> None:
    if not lists:
        case.note("no_lists")
    for row in lists:
        claims = _token(row["token"], "hz-revocation+jws", "revocations").claims()
        case.note("list", iss=claims["iss"], ver=claims["ver"], at=_when(claims["iat"]))


# --- Command line -------------------------------------------------------------------------------------------------

_HELP = """\
校验一份 hazlink 证据文件：谁在何时向谁发送了什么、对方是否已签收。不联网，不需要任何节点。
Check a hazlink file of evidence: who sent what to whom and when, and that it was received. No network, no node.

--anchor 是首版根文件的指纹，必须取自文件以外的来源。
--anchor is the fingerprint of the first root document; take it from elsewhere than the file.

退出状态 exit status: 0 成立 holds, 1 不成立 does not hold, 2 未作判断 not judged."""


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="verifier.py", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--anchor", required=True, metavar="FINGERPRINT")
    parser.add_argument(
        "--revocations", type=Path, metavar="FILE", help='更多吊销清单 more lists: JSON [{"token","chain"}]'
    )
    parser.add_argument(
        "--allow-unwitnessed", action="store_true", help="没有见证方也可成立 also without a witness"
    )
    parser.add_argument("--body", type=Path, metavar="OUT", help="写出正文 write the body to this file")
    parser.add_argument("--json", action="store_true", help="供程序阅读 for programs")
    parser.add_argument("--lang", choices=("zh", "en"), help="只用一种语言 one language alone")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _options(argv)
    try:
        data = options.file.read_bytes()
        more = json.loads(options.revocations.read_bytes()) if options.revocations else []
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not isinstance(more, list):
        sys.stderr.write(f"{options.revocations}: []\n")
        return 2
    finding = verify(data, options.anchor, revocations=more, require_witness=not options.allow_unwitnessed)
    if options.json:
        sys.stdout.write(json.dumps(finding.as_json(), ensure_ascii=False) + "\n")
    else:
        for language in (options.lang,) if options.lang else ("zh", "en"):
            sys.stdout.write(finding.text(language) + "\n")
    if options.body and finding.holds:
        options.body.write_bytes(_body(data))
    return finding.status


def _body(data: bytes) -> bytes:
    """Return the body of a file that holds: the detached bytes, or the inline JSON written out."""
    content = json.loads(data)
    if "body" in content:
        return _from_b64u(content["body"], "body")
    payload = _token(content["envelope"], "hz-envelope+jws", "envelope").payload
    return json.dumps(json.loads(payload).get("body"), ensure_ascii=False, indent=2).encode() + b"\n"


if __name__ == "__main__":
    raise SystemExit(main())
