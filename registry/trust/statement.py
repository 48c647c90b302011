"""The statement: what a superior says about a prefix below it, as a compact JWS.

Reading is syntax only; whether a statement holds is for `registry.trust.chain` to say. Rules that need no other
statement are kept here (facts on federation, (a)):

- `iss` is `300:0.NA/<issuer>` (the root: `300:0.NA/0.NA`), `sub` is `0.NA/<subject>` strictly below it;
- `crit` names `perms`, `ver`, `algs` and every other claim that must be understood; a name unknown here refuses all;
- every permission is about the subject's own prefix or below; `everything` is the root's;
- each key is admitted, its algorithm among `algs`, listed once and for one use; at least one signs;
- a suspended or revoked prefix has no permission left, and `state` stands in `crit`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from registry.errors import InvalidValueError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.claims import Claims, check_crit
from registry.trust.endpoints import Endpoints
from registry.trust.keys import Signer
from registry.trust.refusal import as_kind, as_untrusted
from registry.trust.rights import OPERATIONS, Permission, Right, full_rights
from registry.trust.statement_key import LEEWAY_SECONDS, StatementKey, Use

__all__ = [
    "ISSUER_INDEX",
    "LEEWAY_SECONDS",
    "ROOT_NAME",
    "STATEMENT_TYPE",
    "Endpoints",
    "State",
    "Statement",
    "StatementKey",
    "Use",
    "draft",
    "full_rights",
    "issue",
    "read",
    "sign_draft",
]

STATEMENT_TYPE = "hz-statement+jws"
State = Literal["active", "suspended", "revoked"]

ISSUER_INDEX = 300
ROOT_NAME = "0.NA"
_MAX_BYTES = 65_536
_MAX_KEYS = 64
_MAX_RIGHTS = 32
_MAX_OPERATIONS = 32
#: `chain.MAX_LENGTH` statements at most: nobody may promise more tiers below than could stand there.
_MAX_PATH = 7
_CRIT = ("perms", "ver", "algs")
_UNDERSTOOD = frozenset(
    {*_CRIT, "max_path", "state", "jwks", "ep", "iss", "sub", "iat", "nbf", "exp", "publicKey"}
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that was read; verified only when it stands in a `VerifiedChain`.

    Attributes:
        issuer: the superior's prefix; None is the root.
        subject: the prefix it is about.
        ver: grows by one or more with every statement of this issuer about this subject.
        max_path: tiers allowed below the subject.
        kid: the issuer's key that signed.
        token: as received.
        sha256: of the signing input; two statements of one version must share it.
        parsed: the token's parts, for its verification.
    """

    issuer: Prefix | None
    subject: Prefix
    iat: int
    nbf: int
    exp: int
    ver: int
    keys: tuple[StatementKey, ...]
    perms: tuple[Right, ...]
    algs: tuple[str, ...]
    max_path: int
    endpoints: Endpoints
    state: State
    kid: str
    token: str
    sha256: str
    parsed: jws.Parsed = field(repr=False, compare=False)

    @property
    def issuer_name(self) -> str:
        """The issuer's folded prefix; `0.NA` for the root."""
        return self.issuer.key if self.issuer else ROOT_NAME

    @property
    def signing_kids(self) -> frozenset[str]:
        """Thumbprints of the keys with which the subject may sign after this statement was made."""
        return frozenset(
            key.kid for key in self.keys if key.use == "sig" and (key.exp is None or key.exp > self.iat)
        )

    def key(self, kid: str, use: Use = "sig") -> StatementKey | None:
        """Return the key with this thumbprint, if it serves this use."""
        return next((key for key in self.keys if key.kid == kid and key.use == use), None)


def issue(
    signer: Signer,
    *,
    issuer: Prefix | None,
    subject: Prefix,
    keys: Sequence[StatementKey],
    perms: Sequence[Right],
    algs: Collection[str],
    max_path: int,
    endpoints: Endpoints,
    ver: int,
    iat: int,
    nbf: int,
    exp: int,
    state: State = "active",
) -> str:
    """Sign a statement about `subject`; by the same rules by which others will read it.

    Args:
        signer: a signing key of the issuer; for the root one of the root's keys.
        issuer: the superior; None is the root.
        subject: the prefix below it.
        keys: the subject's keys, the one in use first, then those that signed what still stands.
        perms: rights at the subject or below; none when it is suspended or revoked.
        algs: algorithms allowed to the subject.
        max_path: tiers allowed below the subject.
        endpoints: where the subject is reached.
        ver: one or more higher than in the statement before.
        iat: POSIX seconds of the signature.
        nbf: POSIX seconds from which it holds.
        exp: POSIX seconds until which it holds.
        state: what the subject may still do.

    Raises:
        InvalidValueError: a reader would refuse it; the reason is the reader's.
    """
    payload = draft(
        issuer=issuer,
        subject=subject,
        keys=keys,
        perms=perms,
        algs=algs,
        max_path=max_path,
        endpoints=endpoints,
        ver=ver,
        iat=iat,
        nbf=nbf,
        exp=exp,
        state=state,
    )
    return sign_draft(signer, payload)


def draft(
    *,
    issuer: Prefix | None,
    subject: Prefix,
    keys: Sequence[StatementKey],
    perms: Sequence[Right],
    algs: Collection[str],
    max_path: int,
    endpoints: Endpoints,
    ver: int,
    iat: int,
    nbf: int,
    exp: int,
    state: State = "active",
) -> bytes:
    """Return the payload of a statement for somebody to sign elsewhere; the arguments are those of `issue`.

    Raises:
        InvalidValueError: an argument is of a type that JSON does not have.
    """
    claims: dict[str, Any] = {
        "iss": f"{ISSUER_INDEX}:0.NA/{issuer.key if issuer else ROOT_NAME}",
        "sub": f"0.NA/{subject.key}",
        "iat": iat,
        "nbf": nbf,
        "exp": exp,
        "ver": ver,
        "jwks": {"keys": [_key_claim(key) for key in keys]},
        "perms": [_right_claim(right) for right in perms],
        "algs": list(algs),
        "max_path": max_path,
        "ep": endpoints.to_claims(),
        "crit": [*_CRIT, "max_path"],
    }
    first = next((key for key in keys if key.use == "sig"), None)
    if first is not None:
        claims["publicKey"] = dict(first.jwk)
    if state != "active":
        claims["state"] = state
        claims["crit"].append("state")
    try:
        return orjson.dumps(claims)
    except TypeError as error:
        raise InvalidValueError("registry.trust.claim_type", field="claims", right="JSON") from error


def sign_draft(signer: Signer, payload: bytes) -> str:
    """Sign the payload that `draft` made; by the same rules by which others will read it.

    Raises:
        InvalidValueError: a reader would refuse it; the reason is the reader's.
    """
    try:
        token = jws.sign(signer, STATEMENT_TYPE, payload)
        read(token)
    except (UntrustedError, MalformedError) as error:
        raise as_kind(error, InvalidValueError) from error
    return token


def read(token: str) -> Statement:
    """Read a statement without believing it.

    Raises:
        UntrustedError: it breaks the syntax or one of this module's rules.
    """
    with as_untrusted():
        parsed = jws.parse(token, typ=STATEMENT_TYPE, max_bytes=_MAX_BYTES)
        return _from_claims(Claims(parsed.claims()), parsed, token)


def _from_claims(claims: Claims, parsed: jws.Parsed, token: str) -> Statement:
    check_crit(claims, required=_CRIT, understood=_UNDERSTOOD)
    issuer = claims.reference("iss", ISSUER_INDEX)
    subject = claims.prefix("sub")
    if subject is None or (issuer is not None and (subject == issuer or not issuer.contains(subject))):
        raise UntrustedError(
            "registry.trust.not_below",
            field="sub",
            subject=subject.key if subject else ROOT_NAME,
            issuer=issuer.key if issuer else ROOT_NAME,
        )
    nbf, exp = claims.integer("nbf"), claims.integer("exp")
    if exp <= nbf:
        raise MalformedError("registry.trust.life_empty", field="exp", nbf=nbf, exp=exp)
    algs = tuple(claims.texts("algs", most=16))
    keys = _keys(claims, algs)
    _check_public_key(claims, keys)
    state = _state(claims)
    return Statement(
        issuer=issuer,
        subject=subject,
        iat=claims.integer("iat"),
        nbf=nbf,
        exp=exp,
        ver=claims.integer("ver", least=1),
        keys=keys,
        perms=_rights(claims, subject, state),
        algs=algs,
        max_path=claims.integer("max_path", most=_MAX_PATH),
        endpoints=Endpoints.from_claims(claims.object("ep")),
        state=state,
        kid=parsed.kid,
        token=token,
        sha256=parsed.sha256,
        parsed=parsed,
    )


def _state(claims: Claims) -> State:
    if "state" not in claims.content:
        return "active"
    if "state" not in claims.content["crit"]:
        raise MalformedError("registry.trust.crit_missing", field="crit", name="state")
    match claims.text("state"):
        case "active":
            return "active"
        case "suspended":
            return "suspended"
        case "revoked":
            return "revoked"
        case other:
            raise MalformedError("registry.trust.state_unknown", field="state", value=other[:64])


def _keys(claims: Claims, algs: tuple[str, ...]) -> tuple[StatementKey, ...]:
    made: list[StatementKey] = []
    for number, row in enumerate(Claims(claims.object("jwks"), at="jwks").array("keys", most=_MAX_KEYS)):
        at = f"jwks.keys[{number}]"
        key = Claims(row, at=at)
        for name in ("kid", "alg"):  # `admit` checks what they say, not that they are there
            key.text(name)
        public = admit(key.content, algs)
        nbf = key.integer("nbf")
        exp = key.integer("exp") if "exp" in key.content else None
        if exp is not None and exp < nbf:
            raise MalformedError("registry.trust.life_empty", field=f"{at}.exp", nbf=nbf, exp=exp)
        if any(other.kid == public.kid for other in made):
            raise UntrustedError("registry.trust.key_two_uses", field=at, kid=public.kid)
        made.append(
            StatementKey(kid=public.kid, alg=public.alg, jwk=public.jwk, use=_use(key), nbf=nbf, exp=exp)
        )
    if not any(key.use == "sig" for key in made):
        raise MalformedError("registry.trust.no_signing_key", field="jwks")
    return tuple(made)


def _use(key: Claims) -> Use:
    match key.text("use"):
        case "sig":
            return "sig"
        case "log":
            return "log"
        case "tls":
            return "tls"
        case other:
            raise MalformedError("registry.trust.key_use", field=f"{key.at}.use", value=other[:64])


def _check_public_key(claims: Claims, keys: Sequence[StatementKey]) -> None:
    """`publicKey` is for readers of HS_CERT; it must not lead them to another key than ours."""
    if "publicKey" not in claims.content:
        return
    shown = claims.object("publicKey")
    if not any(key.use == "sig" and shown == key.jwk for key in keys):
        raise UntrustedError("registry.trust.public_key_other", field="publicKey")


def _rights(claims: Claims, subject: Prefix, state: State) -> tuple[Right, ...]:
    made: list[Right] = []
    for number, row in enumerate(claims.array("perms", most=_MAX_RIGHTS)):
        right = Claims(row, at=f"perms[{number}]")
        word = right.text("perm")
        if word not in _PERMISSIONS:
            raise UntrustedError("registry.trust.perm_unknown", field=f"{right.at}.perm", value=word[:64])
        prefix = right.prefix("handle")
        if prefix is None or not subject.contains(prefix):
            raise UntrustedError(
                "registry.trust.perm_outside",
                field=f"{right.at}.handle",
                value=prefix.key if prefix else ROOT_NAME,
                subject=subject.key,
            )
        operations = frozenset(right.texts("ops", most=_MAX_OPERATIONS))
        made.append(Right(prefix, _PERMISSIONS[word], operations))
    if bool(made) != (state == "active"):
        raise UntrustedError("registry.trust.perms_state", field="perms", state=state, count=len(made))
    return tuple(made)


_PERMISSIONS = {permission.value: permission for permission in Permission}


def _key_claim(key: StatementKey) -> dict[str, Any]:
    claim: dict[str, Any] = {**key.jwk, "kid": key.kid, "alg": key.alg, "use": key.use, "nbf": key.nbf}
    if key.exp is not None:
        claim["exp"] = key.exp
    return claim


def _right_claim(right: Right) -> dict[str, Any]:
    # In the order of the vocabulary, others behind: the same rights always make the same bytes.
    known = [name for name in OPERATIONS if name in right.operations]
    return {
        "handle": f"0.NA/{right.prefix.key}",
        "perm": right.permission.value,
        "ops": known + sorted(right.operations.difference(OPERATIONS)),
    }
