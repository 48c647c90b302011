"""Every key a prefix ever had, signed by its superior: what a proof needs years after a key left its statement.

A list is a compact JWS of type `hz-keys+jws` (facts on federation, (a) "Historical keys"), one for each prefix, so
that its size does not depend on how many others its superior has. It only grows: a key that stood in it stays, with
the same material, and a key that was revoked stays revoked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from registry.errors import InvalidValueError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.algorithms import ALGORITHMS, PublicKey, admit
from registry.trust.chain import VerifiedChain
from registry.trust.claims import Claims
from registry.trust.keys import Signer
from registry.trust.refusal import as_kind, as_untrusted
from registry.trust.revocation import verify_by_issuer
from registry.trust.root import Anchor
from registry.trust.statement import ISSUER_INDEX, LEEWAY_SECONDS, ROOT_NAME, Use

__all__ = ["HISTORY_TYPE", "HistoricalKey", "KeyHistory", "issue_history", "read_history", "verify_history"]

HISTORY_TYPE = "hz-keys+jws"
_MAX_BYTES = 262_144
_MAX_KEYS = 1_024


@dataclass(frozen=True, slots=True)
class HistoricalKey:
    """One key that a prefix has or had.

    Attributes:
        kid: thumbprint.
        jwk: the required members.
        use: what it served.
        iat: POSIX seconds from which it signed.
        exp: POSIX seconds until which it signed; None: it still does.
        revoked: POSIX seconds of its revocation; None: it was not.
    """

    kid: str
    alg: str
    jwk: Mapping[str, str] = field(hash=False)
    use: Use
    iat: int
    exp: int | None = None
    revoked: int | None = None

    @property
    def public(self) -> PublicKey:
        """The key itself.

        Raises:
            UntrustedError: it is not admitted.
        """
        return admit({**self.jwk, "kid": self.kid, "alg": self.alg}, (self.alg,))

    def good_at(self, at: float) -> bool:
        """Say whether what was signed at `at` lies in the life of this key and before its revocation."""
        ended = self.exp is not None and at > self.exp
        return self.iat - LEEWAY_SECONDS <= at and not ended and (self.revoked is None or at < self.revoked)


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """A list that was read; verified only when `verify_history` returned it.

    Attributes:
        issuer: the superior; None is the root.
        subject: whose keys.
        keys: oldest first.
        sha256: of the signing input.
    """

    issuer: Prefix | None
    subject: Prefix
    ver: int
    iat: int
    keys: tuple[HistoricalKey, ...]
    kid: str
    token: str
    sha256: str
    parsed: jws.Parsed = field(repr=False, compare=False)

    @property
    def issuer_name(self) -> str:
        """The issuer's folded prefix; `0.NA` for the root."""
        return self.issuer.key if self.issuer else ROOT_NAME

    def key(self, kid: str, use: Use = "sig") -> HistoricalKey | None:
        """Return the key with this thumbprint, if it served this use."""
        return next((key for key in self.keys if key.kid == kid and key.use == use), None)

    def signing_key(self, kid: str, at: float) -> PublicKey:
        """Return the key that may have signed something at the time `at`.

        Raises:
            UntrustedError: the subject never had such a signing key, or `at` is outside its life or after its
                revocation.
        """
        found = self.key(kid)
        if found is None:
            raise UntrustedError(
                "registry.trust.kid_unknown", field="kid", value=kid[:64], subject=self.subject.key
            )
        if not found.good_at(at):
            raise UntrustedError(
                "registry.trust.key_not_in_use", field="kid", value=kid, subject=self.subject.key, at=int(at)
            )
        return found.public

    def require_grown(self, before: "KeyHistory") -> None:
        """Refuse a list that leaves out what the one before said.

        Raises:
            UntrustedError: a key is missing, has other material or a longer life, or is not revoked any longer.
        """
        for old in before.keys:
            new = self.key(old.kid, old.use)
            if (
                new is None
                or new.jwk != old.jwk
                or _later(new.exp, old.exp)
                or _later(new.revoked, old.revoked)
            ):
                raise UntrustedError(
                    "registry.trust.history_shrunk", field="keys", subject=self.subject.key, kid=old.kid
                )


def _later(new: int | None, old: int | None) -> bool:
    return old is not None and (new is None or new > old)


def issue_history(
    signer: Signer,
    *,
    issuer: Prefix | None,
    subject: Prefix,
    ver: int,
    iat: int,
    keys: Sequence[HistoricalKey],
) -> str:
    """Sign the list of all keys of a prefix.

    Args:
        signer: a signing key of the issuer; for the top prefix one of the root's keys.
        issuer: the superior; None is the root.
        subject: whose keys.
        ver: one or more higher than in the list before.
        iat: POSIX seconds.
        keys: every key ever certified, oldest first.

    Raises:
        InvalidValueError: a reader would refuse it; the reason is the reader's.
    """
    claims = {
        "iss": f"{ISSUER_INDEX}:0.NA/{issuer.key if issuer else ROOT_NAME}",
        "sub": f"0.NA/{subject.key}",
        "ver": ver,
        "iat": iat,
        "keys": [_claim(key) for key in keys],
    }
    token = jws.sign(signer, HISTORY_TYPE, orjson.dumps(claims))
    try:
        read_history(token)
    except UntrustedError as error:
        raise as_kind(error, InvalidValueError) from error
    return token


def read_history(token: str) -> KeyHistory:
    """Read a list without believing it.

    Raises:
        UntrustedError: it breaks the syntax, a key is not admitted, or a key stands in it twice.
    """
    with as_untrusted():
        parsed = jws.parse(token, typ=HISTORY_TYPE, max_bytes=_MAX_BYTES)
        claims = Claims(parsed.claims())
        issuer, subject = claims.reference("iss", ISSUER_INDEX), claims.prefix("sub")
        if subject is None or (issuer is not None and (subject == issuer or not issuer.contains(subject))):
            raise UntrustedError(
                "registry.trust.not_below",
                field="sub",
                subject=subject.key if subject else ROOT_NAME,
                issuer=issuer.key if issuer else ROOT_NAME,
            )
        rows = claims.array("keys", most=_MAX_KEYS)
        keys = tuple(_key(Claims(row, at=f"keys[{number}]")) for number, row in enumerate(rows))
        if len({key.kid for key in keys}) != len(keys):
            raise MalformedError("registry.trust.history_twice", field="keys")
        return KeyHistory(
            issuer=issuer,
            subject=subject,
            ver=claims.integer("ver", least=1),
            iat=claims.integer("iat"),
            keys=keys,
            kid=parsed.kid,
            token=token,
            sha256=parsed.sha256,
            parsed=parsed,
        )


def verify_history(token: str, above: VerifiedChain | Anchor, *, now: float) -> KeyHistory:
    """Verify a list by the chain of its issuer, or by the anchor for the top prefix's.

    Raises:
        UntrustedError: it is another issuer's, is not signed by a key of the issuer within that key's life, or comes
            from the future.
    """
    made = read_history(token)
    verify_by_issuer(made.parsed, made.issuer, made.iat, above, now=now)
    return made


def _claim(key: HistoricalKey) -> dict[str, Any]:
    claim: dict[str, Any] = {**key.jwk, "kid": key.kid, "alg": key.alg, "use": key.use, "iat": key.iat}
    if key.exp is not None:
        claim["exp"] = key.exp
    if key.revoked is not None:
        claim["revoked"] = key.revoked
    return claim


def _key(claims: Claims) -> HistoricalKey:
    for name in ("kid", "alg"):
        claims.text(name)
    known = {name: value for name, value in claims.content.items() if name not in ("iat", "revoked")}
    # whatever algorithm it was: that it is not allowed to anybody today says nothing about then
    public = admit(known, tuple(ALGORITHMS))
    iat = claims.integer("iat")
    exp = claims.integer("exp") if "exp" in claims.content else None
    if exp is not None and exp < iat:
        raise MalformedError("registry.trust.life_empty", field=claims.where("exp"), nbf=iat, exp=exp)
    return HistoricalKey(
        kid=public.kid,
        alg=public.alg,
        jwk=public.jwk,
        use=_use(claims),
        iat=iat,
        exp=exp,
        revoked=claims.integer("revoked") if "revoked" in claims.content else None,
    )


def _use(claims: Claims) -> Use:
    match claims.text("use"):
        case "sig":
            return "sig"
        case "log":
            return "log"
        case "tls":
            return "tls"
        case other:
            raise MalformedError("registry.trust.key_use", field=claims.where("use"), value=other[:64])
