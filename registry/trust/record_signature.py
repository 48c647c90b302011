"""The signature of a record: made once when it is written, rebuilt byte for byte when it is served.

The JWS is in the manner of HS_SIGNATURE (facts on identifiers, §2) and of the design's decision 1:

- the public JWS carries issuer, subject, time, version, status and kind, the indexes that are not public, and the
  digest of each public value; a partial answer verifies value by value;
- a value that is not public has a salted digest in a second JWS, so that nothing is guessed from a digest;
- only key id and raw signatures are stored. The order of members is fixed: it is part of what is signed;
- a value shown as public must be signed as public, and one signed as withheld must be shown as withheld: who
  passes an answer on cannot change who may see it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import orjson

from registry.errors import InternalError, MalformedError, UntrustedError
from registry.identifier import Identifier, Prefix, fold
from registry.record import Record, RecordSignature, Status
from registry.trust import jws
from registry.trust.chain import VerifiedChain
from registry.trust.claims import Claims
from registry.trust.keys import Signer
from registry.trust.refusal import as_untrusted
from registry.trust.statement import ISSUER_INDEX, LEEWAY_SECONDS
from registry.value import TOMBSTONE_INDEX, Value, digest, salted_digest

__all__ = [
    "RECORD_TYPE",
    "RESTRICTED_TYPE",
    "SALT_BYTES",
    "RecordClaims",
    "public_jws",
    "restricted_jws",
    "sign_record",
    "verify_record",
]

RECORD_TYPE = "hz-record+jws"
RESTRICTED_TYPE = "hz-record-restricted+jws"
SALT_BYTES = 16

_DIGEST_ALGORITHM = "SHA-256"
_MAX_VALUES = 2048
_MAX_INDEX = (1 << 32) - 1
_MAX_HANDLE = 255
_STATUS_NAME = {status: status.name.lower() for status in Status}
_STATUS = {name: status for status, name in _STATUS_NAME.items()}


@dataclass(frozen=True, slots=True)
class RecordClaims:
    """What the issuer signed about a record; every value shown was found to be part of it.

    Attributes:
        issuer: the prefix whose key signed.
        subject: the identifier in its registered spelling.
        iat: POSIX seconds of this version.
        withheld: indexes that exist and are not public.
        digests: index → digest of the public values.
        verified: indexes of the values shown.
        missing: indexes of public values that were not shown; a partial answer has some.
        by_ancestor: whether a prefix above the one responsible signed: no delegation stood between, or a take-over.
    """

    issuer: Prefix
    subject: str
    iat: int
    version: int
    status: Status
    kind: str
    withheld: tuple[int, ...]
    digests: Mapping[int, str] = field(hash=False)
    verified: frozenset[int] = frozenset()
    missing: tuple[int, ...] = ()
    by_ancestor: bool = False

    def require_match(self, record: Record) -> None:
        """Refuse a record whose frame says something else than its signature.

        Raises:
            UntrustedError: spelling, kind, version, status or time differ.
        """
        for name, shown, signed in (
            ("identifier", record.identifier.text, self.subject),
            ("kind", record.kind, self.kind),
            ("version", record.version, self.version),
            ("status", record.status, self.status),
            ("modified", record.modified, self.iat),
        ):
            if shown != signed:
                raise UntrustedError(
                    "registry.trust.record_frame",
                    field=name,
                    identifier=self.subject,
                    value=str(shown)[:128],
                    right=str(signed),
                )


def sign_record(record: Record, signer: Signer, issuer: Prefix) -> Record:
    """Return the record with its signature.

    Args:
        record: complete: version, status, time, and a salt of 16 bytes in every value that is not public.
        signer: the key of `issuer`.
        issuer: the longest homed prefix that covers the record.

    Raises:
        InternalError: values out of order; a salt is missing; a withdrawn or deleted record has no public tombstone.
    """
    tombstone = False
    restricted = False
    last = 0
    for value in record.values:
        if value.index <= last:
            raise InternalError(
                "registry.trust.value_order",
                field=f"values[{value.index}]",
                identifier=record.identifier.text,
            )
        last = value.index
        if not value.visibility.is_public:
            restricted = True
            if len(value.salt) != SALT_BYTES:
                raise InternalError("registry.trust.salt", field=f"values[{value.index}]", right=SALT_BYTES)
        elif value.index == TOMBSTONE_INDEX:
            tombstone = True
    if record.status is not Status.ACTIVE and not tombstone:
        raise InternalError("registry.trust.tombstone", field="status", identifier=record.identifier.text)
    signature = RecordSignature(
        kid=signer.kid,
        issuer=issuer.key,
        public=_sign(signer, RECORD_TYPE, _public_payload(record, issuer.key)),
        restricted=_sign(signer, RESTRICTED_TYPE, _restricted_payload(record, issuer.key))
        if restricted
        else None,
        alg=signer.alg,
    )
    return replace(record, signature=signature)


def public_jws(record: Record) -> str:
    """Rebuild the JWS over the public values.

    Raises:
        InternalError: the record was never signed.
    """
    signature = _signature(record)
    payload = _public_payload(record, signature.issuer)
    return jws.assemble(signature.alg, signature.kid, RECORD_TYPE, payload, signature.public)


def restricted_jws(record: Record) -> str | None:
    """Rebuild the JWS over the other values; None when all are public.

    Raises:
        InternalError: the record was never signed.
    """
    signature = _signature(record)
    if signature.restricted is None:
        return None
    payload = _restricted_payload(record, signature.issuer)
    return jws.assemble(signature.alg, signature.kid, RESTRICTED_TYPE, payload, signature.restricted)


def verify_record(
    *,
    public_jws: str,
    restricted_jws: str | None,
    shown: Sequence[Value],
    chain: VerifiedChain,
    identifier: Identifier,
    now: float,
) -> RecordClaims:
    """Verify what is shown of a record.

    Args:
        public_jws: as received.
        restricted_jws: needed when a value that is not public is shown.
        shown: the values, all or some.
        chain: of the prefix that signed.
        identifier: what was asked; its case may differ from the registered spelling.
        now: POSIX seconds.

    Raises:
        UntrustedError: chain inactive or expired; the record lies outside its rights; wrong issuer, subject, key or
            signature; signed in the future; a value that is changed, not signed, or shown with another visibility;
            a record that is not active and has no tombstone.
    """
    chain.require_fresh(now)
    chain.require_active()
    with as_untrusted():
        claims = _signed_claims(public_jws, RECORD_TYPE, chain)
        made = _read_claims(claims, chain, identifier)
        if made.iat > now + LEEWAY_SECONDS:
            raise UntrustedError(
                "registry.trust.record_future",
                field="iat",
                identifier=made.subject,
                value=made.iat,
                now=int(now),
            )
        salted: Mapping[int, str] = {}
        if restricted_jws is not None:
            salted = _salted_digests(_signed_claims(restricted_jws, RESTRICTED_TYPE, chain), made)
    for value in shown:
        _check_value(value, made, salted)
    seen = frozenset(value.index for value in shown)
    if len(seen) != len(shown):
        raise UntrustedError("registry.trust.value_twice", field="values", identifier=made.subject)
    missing = tuple(index for index in made.digests if index not in seen)
    return replace(made, verified=seen, missing=missing)


def _sign(signer: Signer, typ: str, payload: bytes) -> bytes:
    return signer.sign(jws.signing_input(signer.alg, signer.kid, typ, payload))


def _signature(record: Record) -> RecordSignature:
    if record.signature is None:
        raise InternalError("registry.trust.unsigned", identifier=record.identifier.text)
    return record.signature


@lru_cache(maxsize=4096)
def _issuer_reference(prefix_key: str) -> str:
    return f"{ISSUER_INDEX}:0.NA/{prefix_key}"


def _public_payload(record: Record, issuer: str) -> bytes:
    withheld = []
    digests = []
    for value in record.values:
        if value.visibility.is_public:
            digests.append({"index": value.index, "digest": digest(value)})
        else:
            withheld.append(value.index)
    return orjson.dumps(
        {
            "iss": _issuer_reference(issuer),
            "sub": record.identifier.text,
            "iat": record.modified,
            "ver": record.version,
            "status": _STATUS_NAME[record.status],
            "kind": record.kind,
            "withheld": withheld,
            "digests": {"alg": _DIGEST_ALGORITHM, "digests": digests},
        }
    )


def _restricted_payload(record: Record, issuer: str) -> bytes:
    digests = [
        {"index": value.index, "digest": salted_digest(value)}
        for value in record.values
        if not value.visibility.is_public
    ]
    return orjson.dumps(
        {
            "iss": _issuer_reference(issuer),
            "sub": record.identifier.text,
            "iat": record.modified,
            "ver": record.version,
            "salted": {"alg": _DIGEST_ALGORITHM, "digests": digests},
        }
    )


def _signed_claims(token: str, typ: str, chain: VerifiedChain) -> Claims:
    """Read and verify a token; the time it claims chooses which keys could have signed it."""
    parsed = jws.parse(token, typ=typ)
    claims = Claims(parsed.claims())
    jws.verify(parsed, chain.signing_key(parsed.kid, claims.integer("iat")))
    return claims


def _read_claims(claims: Claims, chain: VerifiedChain, identifier: Identifier) -> RecordClaims:
    subject = claims.text("sub", _MAX_HANDLE)
    if fold(subject) != identifier.key:
        raise UntrustedError(
            "registry.trust.record_subject", field="sub", value=subject, right=identifier.text
        )
    issuer = claims.reference("iss", ISSUER_INDEX)
    if issuer != chain.subject:
        raise UntrustedError(
            "registry.trust.record_issuer",
            field="iss",
            identifier=subject,
            value=issuer.key if issuer else "0.NA",
            right=chain.subject.key,
        )
    # A prefix does not vouch for its own delegation: `0.NA/P` is its superior's, though P keeps a copy.
    if not chain.subject.contains(identifier.authority) or not chain.covers(identifier):
        raise UntrustedError(
            "registry.trust.record_outside", field="sub", identifier=subject, issuer=chain.subject.key
        )
    word = claims.text("status")
    if word not in _STATUS:
        raise MalformedError("registry.trust.state_unknown", field="status", value=word[:64])
    digests = _digests(claims, "digests")
    withheld = _indexes(claims.array("withheld", most=_MAX_VALUES), "withheld")
    if not digests.keys().isdisjoint(withheld):
        raise UntrustedError("registry.trust.value_both", field="withheld", identifier=subject)
    status = _STATUS[word]
    if status is not Status.ACTIVE and TOMBSTONE_INDEX not in digests:
        raise UntrustedError("registry.trust.tombstone", field="digests", identifier=subject)
    return RecordClaims(
        issuer=chain.subject,
        subject=subject,
        iat=claims.integer("iat"),
        version=claims.integer("ver", least=1),
        status=status,
        kind=claims.text("kind"),
        withheld=withheld,
        digests=digests,
        by_ancestor=chain.subject != identifier.authority,
    )


def _salted_digests(claims: Claims, made: RecordClaims) -> Mapping[int, str]:
    """Return the salted digests, if they belong to the same version of the same record."""
    same = (
        claims.get("iss") == _issuer_reference(made.issuer.key)
        and claims.get("sub") == made.subject
        and claims.get("iat") == made.iat
        and claims.get("ver") == made.version
    )
    digests = _digests(claims, "salted")
    if not same or tuple(digests) != made.withheld:
        raise UntrustedError(
            "registry.trust.restricted_other", field="restricted_jws", identifier=made.subject
        )
    return digests


def _digests(claims: Claims, name: str) -> Mapping[int, str]:
    block = Claims(claims.object(name), at=name)
    if block.text("alg") != _DIGEST_ALGORITHM:
        raise MalformedError("registry.trust.digest_alg", field=f"{name}.alg", right=_DIGEST_ALGORITHM)
    rows = block.array("digests", most=_MAX_VALUES)
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("digest"), str):
            raise MalformedError("registry.trust.claim_type", field=f"{name}.digests", right="index, digest")
    indexes = _indexes([row.get("index") for row in rows], f"{name}.digests")
    return {index: row["digest"] for index, row in zip(indexes, rows, strict=True)}


def _indexes(content: Sequence[object], at: str) -> tuple[int, ...]:
    """Return the indexes, if they are ascending: each stands once, in one order."""
    made: list[int] = []
    last = 0
    for index in content:
        if type(index) is not int or not last < index <= _MAX_INDEX:
            raise MalformedError("registry.trust.digest_index", field=at, value=str(index)[:32])
        made.append(index)
        last = index
    return tuple(made)


def _check_value(value: Value, made: RecordClaims, salted: Mapping[int, str]) -> None:
    index = value.index
    signed = made.digests.get(index)
    if signed is not None:
        if not value.visibility.is_public:
            raise _bad("value_visibility", index, made)
        if digest(value) != signed:
            raise _bad("value_bad", index, made)
    elif index in made.withheld:
        if value.visibility.is_public:
            raise _bad("value_visibility", index, made)
        if index not in salted:
            raise _bad("value_unproven", index, made)
        if len(value.salt) != SALT_BYTES or salted_digest(value) != salted[index]:
            raise _bad("value_bad", index, made)
    else:
        raise _bad("value_unsigned", index, made)


def _bad(name: str, index: int, made: RecordClaims) -> UntrustedError:
    return UntrustedError(
        f"registry.trust.{name}", field=f"values[{index}]", index=index, identifier=made.subject
    )
