"""The nouns of prefixes and joining: homes, delegations, invitations, requests, and the trail of their changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from registry.identifier import Prefix

__all__ = [
    "AuditLine",
    "Contact",
    "Delegation",
    "DelegationState",
    "Home",
    "HomeState",
    "Invitation",
    "JoinRequest",
    "Origin",
    "Purpose",
    "RequestState",
    "Superior",
]


class Origin(StrEnum):
    """Where a homed prefix has its delegation from."""

    TOP = "top"  # from the root document, whose keys this node made
    JOINED = "joined"  # from the superior's node
    HOSTED = "hosted"  # from a parent prefix homed by this same node


class HomeState(StrEnum):
    """Whether this node may speak for a prefix."""

    PENDING = "pending"  # asked for, not approved yet
    REFUSED = "refused"  # the superior said no; it may be asked again with another invitation
    ACTIVE = "active"
    SUSPENDED = "suspended"  # reads go on, nothing new is signed
    REVOKED = "revoked"
    CLOSING = "closing"  # exported for hand-over: still answers, takes no further write
    CLOSED = "closed"  # handed over: answers with a referral


class DelegationState(StrEnum):
    """What the superior's newest statement says."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class RequestState(StrEnum):
    """Where a request for a prefix stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


class Purpose(StrEnum):
    """What an invitation is good for."""

    JOIN = "join"  # a prefix nobody holds yet
    HANDOVER = "handover"  # a hosted prefix moves to its own node
    REKEY = "rekey"  # the holder lost its key: same prefix, new key


@dataclass(frozen=True, slots=True)
class Superior:
    """How a joined prefix reaches the node above it.

    Attributes:
        urls: base URLs, tried in order.
        anchor: fingerprint of the trust anchor, from the invitation.
        parent: the prefix that signs the delegation.
        tls_sha256: base64url SHA-256 of its certificate, or None to rely on the certificate store.
        ticket: the name of the pending request, while there is one.
        purpose: what the invitation was good for.
    """

    urls: tuple[str, ...]
    anchor: str
    parent: Prefix
    tls_sha256: str | None = None
    ticket: str | None = None
    purpose: Purpose = Purpose.JOIN


@dataclass(frozen=True, slots=True)
class Home:
    """One prefix this node homes, or has asked for.

    Attributes:
        prefix: the prefix.
        origin: where its delegation comes from.
        state: whether this node may speak for it.
        kid: thumbprint of the key that signs for it now.
        next_kid: a key made for a rotation that the superior has not confirmed yet.
        chain: statements leaf first as received; empty for a top or hosted prefix, whose chain is made from the
            delegation made here and the parent's chain.
        superior: for a joined prefix, the node above.
        reason: why it was refused, suspended or revoked, as the superior put it.
        resign: a key was compromised and records still stand to be signed again.
    """

    prefix: Prefix
    origin: Origin
    state: HomeState
    kid: str
    next_kid: str | None = None
    chain: tuple[str, ...] = ()
    superior: Superior | None = None
    reason: str = ""
    resign: bool = False


@dataclass(frozen=True, slots=True)
class Delegation:
    """One prefix this node has delegated; the statement is the truth, the rest is there to find it by.

    Attributes:
        prefix: the child.
        parent: the homed prefix that signed.
        state: as in the statement.
        version: of the statement.
        token: the statement.
        expires: POSIX seconds.
        published: whether the record `0.NA/<prefix>` carries this statement already.
        name: what the holder calls itself.
        contact: whom to call.
    """

    prefix: Prefix
    parent: Prefix
    state: DelegationState
    version: int
    token: str
    expires: int
    published: bool
    name: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A stored invitation; of its secret only a keyed hash is kept.

    Attributes:
        digest: keyed hash of the secret, hexadecimal.
        parent: the homed prefix that will sign.
        prefix: the prefix invited to; None lets the guest propose one directly below the parent.
        purpose: what it is good for.
        expires_at: POSIX seconds.
        used_kid: thumbprint of the key it was used with.
    """

    digest: str
    parent: Prefix
    prefix: Prefix | None
    purpose: Purpose
    expires_at: int
    created_at: int
    created_by: str
    used_at: int | None = None
    used_kid: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """Who asks for a prefix, for the eyes of the operator who decides."""

    name: str = ""
    contact: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Somebody's request for a prefix, with possession of its key proven.

    Attributes:
        ticket: the name the asker polls by.
        jwk: the public key.
        endpoints: where the asker's node will answer.
        reason: code of the catalogue of denials, when refused.
        remark: the operator's own words.
    """

    ticket: str
    prefix: Prefix
    parent: Prefix
    purpose: Purpose
    kid: str
    jwk: Mapping[str, str]
    endpoints: Mapping[str, object]
    who: Contact
    state: RequestState
    requested_at: int
    decided_at: int | None = None
    decided_by: str = ""
    reason: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change of state of a prefix: who, when, what."""

    number: int
    prefix: Prefix
    at: int
    who: str
    action: str
    detail: Mapping[str, object]
