"""Invitations: one line of text that lets one guest ask for one prefix, once, before a date.

The line carries the fingerprint of the trust anchor, so the guest never trusts on first use: whatever answers at
the address must show a root document and a chain that lead to exactly this anchor. Of the secret the inviting node
keeps a keyed hash only; who reads its database cannot use an open invitation.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from registry.clock import Clock
from registry.delegation import Invitation, Purpose
from registry.errors import ForbiddenError, MalformedError, UnauthenticatedError
from registry.identifier import Prefix
from registry.storage.prefixes import PrefixUnit
from registry.trust.encoding import b64u, from_b64u

__all__ = ["NONCE_SECONDS", "InvitationLetter", "Invitations", "as_date"]

_MARK = "hzi1."
_MAX_CHARACTERS = 4096
_SECRET_BYTES = 32
#: A proof of possession answers a nonce of at most this age (facts on federation, §a, key admission).
NONCE_SECONDS = 600
_NONCE_HEAD = 16


@dataclass(frozen=True, slots=True)
class InvitationLetter:
    """What an invitation says to the guest.

    Attributes:
        urls: base URLs of the inviting node, tried in order.
        anchor: fingerprint of the trust anchor, base64url SHA-256.
        secret: good for one request.
        parent: the prefix that will sign the delegation.
        prefix: the prefix invited to; None lets the guest propose one directly below the parent.
        expires: POSIX seconds.
        tls_sha256: base64url SHA-256 of the inviting node's certificate, or None for the certificate store.
        purpose: what it is good for.
    """

    urls: tuple[str, ...]
    anchor: str
    secret: str
    parent: Prefix
    prefix: Prefix | None
    expires: int
    tls_sha256: str | None = None
    purpose: Purpose = Purpose.JOIN

    def to_text(self) -> str:
        """Return the line to hand over."""
        content = {
            "urls": self.urls,
            "tls": self.tls_sha256,
            "anchor": self.anchor,
            "secret": self.secret,
            "parent": self.parent.key,
            "prefix": self.prefix.key if self.prefix else None,
            "purpose": self.purpose.value,
            "exp": self.expires,
        }
        return _MARK + b64u(orjson.dumps(content))

    @classmethod
    def from_text(cls, line: str) -> "InvitationLetter":
        """Read the line somebody was handed; white space that mail put into it is ignored.

        Raises:
            MalformedError: it is no invitation, or was cut or altered on the way.
        """
        packed = "".join(line.split()) if len(line) <= _MAX_CHARACTERS else ""
        if not packed.startswith(_MARK):
            raise MalformedError("registry.prefixes.invitation_unreadable", field="invitation")
        try:
            content = orjson.loads(from_b64u(packed[len(_MARK) :]) or b"")
            letter = cls(
                urls=tuple(str(url) for url in content["urls"]),
                anchor=str(content["anchor"]),
                secret=str(content["secret"]),
                parent=Prefix.parse(content["parent"]),
                prefix=Prefix.parse(content["prefix"]) if content["prefix"] else None,
                expires=int(content["exp"]),
                tls_sha256=str(content["tls"]) if content["tls"] else None,
                purpose=Purpose(content["purpose"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, MalformedError) as error:
            raise MalformedError("registry.prefixes.invitation_unreadable", field="invitation") from error
        if not letter.urls:
            raise MalformedError("registry.prefixes.invitation_unreadable", field="invitation")
        return letter


class Invitations:
    """Makes, checks and uses up invitations and the nonces of possession proofs.

    Args:
        clock: the time.
        entropy: source of random bytes.
        secret: the node's own key for keyed hashes; the same for every process of the node.
    """

    def __init__(self, *, clock: Clock, entropy: Callable[[int], bytes], secret: bytes) -> None:
        self._clock = clock
        self._entropy = entropy
        self._secret = secret

    def create(
        self, unit: PrefixUnit, *, parent: Prefix, prefix: Prefix | None, purpose: Purpose, ttl: int, by: str
    ) -> tuple[Invitation, str]:
        """Store a new invitation; return it with its secret, which is kept nowhere."""
        secret = b64u(self._entropy(_SECRET_BYTES))
        now = int(self._clock.now())
        made = Invitation(
            digest=self.digest(secret),
            parent=parent,
            prefix=prefix,
            purpose=purpose,
            expires_at=now + ttl,
            created_at=now,
            created_by=by,
        )
        unit.add_invitation(made)
        return made, secret

    def find(self, unit: PrefixUnit, secret: str) -> Invitation:
        """Return the invitation behind a secret, whatever became of it.

        Raises:
            UnauthenticatedError: there is none.
        """
        found = unit.invitation(self.digest(secret))
        if found is None:
            raise UnauthenticatedError("registry.prefixes.invitation_unknown", field="secret")
        return found

    def check(self, unit: PrefixUnit, secret: str, kid: str) -> Invitation:
        """Return the invitation behind a secret, if it is still good for the holder of key `kid`.

        The one who used it may show it again with the same key: a reply lost on the way must not cost the prefix.

        Raises:
            UnauthenticatedError: there is no such invitation.
            ForbiddenError: it has expired, or was used with another key.
        """
        found = self.find(unit, secret)
        if found.used_at is not None:
            if found.used_kid != kid:
                raise ForbiddenError("registry.prefixes.invitation_used", field="secret")
            return found
        if self._clock.now() > found.expires_at:
            raise ForbiddenError(
                "registry.prefixes.invitation_expired", field="secret", expires=as_date(found.expires_at)
            )
        return found

    def ticket(self, invitation: Invitation, kid: str) -> str:
        """Return the name of the request made with this invitation and key; the same whenever asked."""
        return b64u(self._hash(b"ticket", f"{invitation.digest}:{kid}".encode())[:24])

    def digest(self, secret: str) -> str:
        """Return the keyed hash an invitation is stored under."""
        return self._hash(b"invitation", secret.encode("utf-8", "surrogatepass")).hex()

    def challenge(self) -> str:
        """Return a fresh nonce; nothing is stored until it is used, so asking for many costs the node nothing."""
        head = int(self._clock.now()).to_bytes(8, "big") + self._entropy(8)
        return b64u(head + self._hash(b"nonce", head)[:_NONCE_HEAD])

    def use_nonce(self, unit: PrefixUnit, nonce: str) -> None:
        """Use a nonce up.

        Raises:
            UnauthenticatedError: not one of ours, older than ten minutes, or used before.
        """
        raw = from_b64u(nonce) or b""
        head = raw[:_NONCE_HEAD]
        genuine = hmac.compare_digest(raw[_NONCE_HEAD:], self._hash(b"nonce", head)[:_NONCE_HEAD])
        now = int(self._clock.now())
        made = int.from_bytes(head[:8], "big")
        if not genuine or not now - NONCE_SECONDS <= made <= now + 1:
            raise UnauthenticatedError("registry.prefixes.nonce_stale", field="nonce", seconds=NONCE_SECONDS)
        if not unit.use_nonce(hashlib.sha256(raw).hexdigest(), made + NONCE_SECONDS + 1, now):
            raise UnauthenticatedError("registry.prefixes.nonce_used", field="nonce")

    def _hash(self, use: bytes, content: bytes) -> bytes:
        return hmac.digest(self._secret, use + b"\x00" + content, "sha256")


def as_date(seconds: int) -> str:
    """Return a point in time as people read it: ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()
