"""Revocation lists: what a superior says against keys it certified, and what becomes of what they signed.

A list is a compact JWS of type `hz-revocation+jws` by the issuer whose statements name the keys (facts on
federation, (a) "Revocation"). Rules:

- versions only grow; the same version with other content is equivocation;
- a key once named stays revoked, whatever later lists say: what is known is merged, the stricter word wins;
- an expired list is a warning, not a reason to stop: the last one known keeps its force;
- where last positions are given they are complete: what stands behind the last position of its stream, or in a stream
  that is not named, is not good, so nothing can be dated back;
- of a key that was rotated out (`superseded`) everything up to its last position is good, however late it arrives, so
  nothing in flight is lost; without positions, and of a key given up (`cessation`), what came before the revocation;
- of a key that was stolen (`compromise`, and every reason unknown here) only that stands which a witness saw before
  the theft; the time a message claims counts for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from registry.errors import InvalidValueError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.chain import VerifiedChain
from registry.trust.claims import Claims
from registry.trust.encoding import from_b64u
from registry.trust.keys import Signer
from registry.trust.refusal import as_kind, as_untrusted
from registry.trust.root import Anchor
from registry.trust.statement import ISSUER_INDEX, LEEWAY_SECONDS, ROOT_NAME

__all__ = [
    "REVOCATION_TYPE",
    "LastGood",
    "Reason",
    "RevocationBook",
    "RevocationList",
    "Revoked",
    "Signed",
    "issue_revocation",
    "last_good_claim",
    "last_good_of",
    "list_advances",
    "read_revocation",
    "stands",
    "verify_by_issuer",
    "verify_revocation",
]

REVOCATION_TYPE = "hz-revocation+jws"
_MAX_BYTES = 262_144
_MAX_ENTRIES = 2_048
_MAX_STREAMS = 16
_KID_BYTES = 32


class Reason(StrEnum):
    """Why a key is not to be believed any longer."""

    COMPROMISE = "compromise"  # somebody else may hold it
    SUPERSEDED = "superseded"  # another key took its place
    CESSATION = "cessation"  # its holder stopped using it


@dataclass(frozen=True, slots=True, order=True)
class LastGood:
    """The last position of a stream that a key signed."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """One key on the list.

    Attributes:
        kid: thumbprint.
        revoked_at: POSIX seconds; for a theft the earliest moment at which it may have happened.
        last_good: stream → last position the key signed, for every stream it signed in; empty when nobody counted.
    """

    kid: str
    revoked_at: int
    reason: Reason
    last_good: Mapping[str, LastGood] = field(default_factory=dict, hash=False)

    def merged(self, other: "Revoked") -> "Revoked":
        """Return what holds when both were said of one key: the stricter of each."""
        if self.last_good and other.last_good:
            nothing = LastGood(0, 0)
            last = {
                name: min(self.last_good.get(name, nothing), other.last_good.get(name, nothing))
                for name in sorted(self.last_good.keys() | other.last_good.keys())
            }
        else:
            last = dict(self.last_good or other.last_good)
        both = (self, other)
        if any(one.reason is Reason.COMPROMISE for one in both):
            reason = Reason.COMPROMISE
        elif all(one.reason is Reason.SUPERSEDED and one.last_good for one in both):
            reason = Reason.SUPERSEDED
        else:
            reason = Reason.CESSATION
        return Revoked(self.kid, min(self.revoked_at, other.revoked_at), reason, last)


@dataclass(frozen=True, slots=True)
class Signed:
    """What is known, from elsewhere than the signer, about something a key signed.

    Attributes:
        at: POSIX seconds at which it was received, or is being received now; of a record or statement, which has no
            stream, the time it claims, so that of a stolen key none of these stands.
        witnessed: time of the oldest cosignature by somebody independent over a checkpoint that covers it.
        stream: of an envelope.
        epoch: of an envelope.
        seq: of an envelope.
    """

    at: int | None = None
    witnessed: int | None = None
    stream: str | None = None
    epoch: int = 0
    seq: int = 0


def stands(entry: Revoked | None, signed: Signed) -> bool:
    """Say whether something stands although its key is (or because it is not) revoked."""
    if entry is None:
        return True
    if signed.stream is not None and entry.last_good:
        last = entry.last_good.get(signed.stream)
        if last is None or LastGood(signed.epoch, signed.seq) > last:
            return False
        if entry.reason is Reason.SUPERSEDED:
            return True
    if entry.reason is Reason.COMPROMISE and signed.stream is None:
        return _before(signed.witnessed, entry)
    return _before(signed.witnessed, entry) or _before(signed.at, entry)


def _before(moment: int | None, entry: Revoked) -> bool:
    return moment is not None and moment < entry.revoked_at


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list that was read; verified only when `verify_revocation` returned it.

    Attributes:
        issuer: who certified the keys; None is the root.
        sha256: of the signing input; two lists of one version must share it.
    """

    issuer: Prefix | None
    ver: int
    iat: int
    exp: int
    revoked: tuple[Revoked, ...]
    kid: str
    token: str
    sha256: str
    parsed: jws.Parsed = field(repr=False, compare=False)

    @property
    def issuer_name(self) -> str:
        """The issuer's folded prefix; `0.NA` for the root."""
        return self.issuer.key if self.issuer else ROOT_NAME

    def find(self, kid: str) -> Revoked | None:
        """Return what the list says of a key."""
        return next((entry for entry in self.revoked if entry.kid == kid), None)

    def is_stale(self, now: float) -> bool:
        """Say whether a newer list should have come by now."""
        return now > self.exp


@dataclass(frozen=True, slots=True)
class RevocationBook:
    """Everything known against keys, at one instant.

    Attributes:
        entries: (issuer, kid) → what was said, merged over all lists.
        expires: issuer → end of its newest list.
    """

    entries: Mapping[tuple[str, str], Revoked] = field(default_factory=dict, hash=False)
    expires: Mapping[str, int] = field(default_factory=dict, hash=False)

    def find(self, issuer: Prefix | None, kid: str) -> Revoked | None:
        """Return what the issuer said of a key it certified; nobody else's word counts."""
        return self.entries.get((issuer.key if issuer else ROOT_NAME, kid))

    def stale(self, now: float) -> tuple[str, ...]:
        """Return the issuers whose newest list has expired: a warning, the lists keep their force."""
        return tuple(sorted(issuer for issuer, exp in self.expires.items() if now > exp))

    def require_chain(self, chain: VerifiedChain) -> None:
        """Refuse a chain in which a statement rests on a key that was revoked.

        A statement that a stolen key may have signed has no witness, so none of them stands; its issuer signs anew.

        Raises:
            UntrustedError: it does.
        """
        above = (*chain.statements[1:], None)
        for statement, issuer in zip(chain.statements, above, strict=True):
            entry = self.find(issuer.issuer if issuer else None, statement.kid)
            if not stands(entry, Signed(at=statement.iat)):
                raise UntrustedError(
                    "registry.trust.key_revoked",
                    field="kid",
                    kid=statement.kid,
                    subject=statement.issuer_name,
                    at=entry.revoked_at if entry else 0,
                )

    def require(self, chain: VerifiedChain, kid: str, signed: Signed) -> None:
        """Refuse what a key of the chain's subject signed, if the key is revoked and it does not stand.

        Raises:
            UntrustedError: it does not, or the chain itself rests on a revoked key.
        """
        self.require_chain(chain)
        entry = self.find(chain.leaf.issuer, kid)
        if entry is not None and not stands(entry, signed):
            raise UntrustedError(
                "registry.trust.key_revoked",
                field="kid",
                kid=kid,
                subject=chain.subject.key,
                at=entry.revoked_at,
            )


def issue_revocation(
    signer: Signer, *, issuer: Prefix | None, ver: int, iat: int, exp: int, revoked: Sequence[Revoked]
) -> str:
    """Sign a list; by the same rules by which others will read it.

    Args:
        signer: a signing key of the issuer; for the root one of the root's keys.
        issuer: who certified the keys; None is the root.
        ver: one or more higher than in the list before.
        iat: POSIX seconds.
        exp: POSIX seconds after which readers warn.
        revoked: every key revoked by this issuer so far.

    Raises:
        InvalidValueError: a reader would refuse it; the reason is the reader's.
    """
    claims = {
        "iss": f"{ISSUER_INDEX}:0.NA/{issuer.key if issuer else ROOT_NAME}",
        "ver": ver,
        "iat": iat,
        "exp": exp,
        "revoked": [
            {
                "kid": entry.kid,
                "revoked_at": entry.revoked_at,
                "reason": entry.reason.value,
                "last_good": last_good_claim(entry.last_good),
            }
            for entry in revoked
        ],
    }
    token = jws.sign(signer, REVOCATION_TYPE, orjson.dumps(claims))
    try:
        read_revocation(token)
    except UntrustedError as error:
        raise as_kind(error, InvalidValueError) from error
    return token


def read_revocation(token: str) -> RevocationList:
    """Read a list without believing it.

    Raises:
        UntrustedError: it breaks the syntax, is too long, or names a key twice.
    """
    with as_untrusted():
        parsed = jws.parse(token, typ=REVOCATION_TYPE, max_bytes=_MAX_BYTES)
        claims = Claims(parsed.claims())
        iat, exp = claims.integer("iat"), claims.integer("exp")
        if exp <= iat:
            raise MalformedError("registry.trust.life_empty", field="exp", nbf=iat, exp=exp)
        rows = claims.array("revoked", most=_MAX_ENTRIES)
        revoked = tuple(_entry(Claims(row, at=f"revoked[{number}]")) for number, row in enumerate(rows))
        if len({entry.kid for entry in revoked}) != len(revoked):
            raise MalformedError("registry.trust.revoked_twice", field="revoked")
        return RevocationList(
            issuer=claims.reference("iss", ISSUER_INDEX),
            ver=claims.integer("ver", least=1),
            iat=iat,
            exp=exp,
            revoked=revoked,
            kid=parsed.kid,
            token=token,
            sha256=parsed.sha256,
            parsed=parsed,
        )


def verify_revocation(token: str, above: VerifiedChain | Anchor, *, now: float) -> RevocationList:
    """Verify a list by the chain of its issuer, or by the anchor for the root's.

    A list of a suspended issuer still counts: it only ever takes away. An expired one counts as well.

    Raises:
        UntrustedError: it is another issuer's, is not signed by a key of the issuer within that key's life, or comes
            from the future.
    """
    made = read_revocation(token)
    verify_by_issuer(made.parsed, made.issuer, made.iat, above, now=now)
    return made


def verify_by_issuer(
    parsed: jws.Parsed, issuer: Prefix | None, iat: int, above: VerifiedChain | Anchor, *, now: float
) -> None:
    """Check who signed a list of an issuer, and when.

    Raises:
        UntrustedError: as `verify_revocation`.
    """
    name = issuer.key if issuer else ROOT_NAME
    right = ROOT_NAME if isinstance(above, Anchor) else above.subject.key
    if name != right:
        raise UntrustedError("registry.trust.list_issuer", field="iss", value=name, right=right)
    if iat > now + LEEWAY_SECONDS:
        raise UntrustedError("registry.trust.list_future", field="iat", issuer=name, value=iat, now=int(now))
    if isinstance(above, VerifiedChain):
        jws.verify(parsed, above.signing_key(parsed.kid, iat))
        return
    key = above.root.key(parsed.kid)
    if key is None:
        raise UntrustedError("registry.trust.kid_unknown", field="kid", value=parsed.kid, subject=ROOT_NAME)
    jws.verify(parsed, key)


def list_advances(issuer: str, known: tuple[int, str] | None, seen: tuple[int, str]) -> bool:
    """Say whether a list, as (version, SHA-256), must be stored in place of the one known of this issuer.

    Raises:
        UntrustedError: older than the known one (rollback), or the same version with other content (equivocation).
    """
    if known is None or seen[0] > known[0]:
        return True
    if seen[0] < known[0]:
        raise UntrustedError(
            "registry.trust.list_rolled_back", field="ver", issuer=issuer, value=seen[0], right=known[0]
        )
    if seen[1] != known[1]:
        raise UntrustedError("registry.trust.list_equivocation", field="ver", issuer=issuer, value=seen[0])
    return False


def last_good_claim(last: Mapping[str, LastGood]) -> dict[str, dict[str, int]]:
    """Return the JSON form of last positions; the same positions always make the same bytes."""
    return {name: {"epoch": last[name].epoch, "seq": last[name].seq} for name in sorted(last)}


def last_good_of(content: Mapping[str, Any], *, at: str = "last_good") -> dict[str, LastGood]:
    """Read last positions.

    Raises:
        MalformedError: not stream → epoch, seq; or too many streams.
    """
    rows = Claims(content, at=at)
    if len(rows.content) > _MAX_STREAMS:
        raise MalformedError("registry.trust.claim_type", field=at, right=f"object (0–{_MAX_STREAMS})")
    made: dict[str, LastGood] = {}
    for name in rows.content:
        place = Claims(rows.object(name), at=rows.where(name[:64]))
        made[name] = LastGood(epoch=place.integer("epoch"), seq=place.integer("seq"))
    return made


def _entry(claims: Claims) -> Revoked:
    kid = claims.text("kid")
    raw = from_b64u(kid)
    if raw is None or len(raw) != _KID_BYTES:
        raise MalformedError("registry.trust.jws_kid", field=claims.where("kid"), value=kid[:64])
    word = claims.text("reason", 32)
    last = claims.object("last_good") if "last_good" in claims.content else {}
    return Revoked(
        kid=kid,
        revoked_at=claims.integer("revoked_at"),
        # what a newer release means by another word is not known here: the strictest reading is safe
        reason=Reason(word) if word in _REASONS else Reason.COMPROMISE,
        last_good=last_good_of(last, at=claims.where("last_good")),
    )


_REASONS = frozenset(reason.value for reason in Reason)
