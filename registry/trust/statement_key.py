"""One key in a statement: what it is, what it serves, and how long it signs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from registry.trust.algorithms import PublicKey, admit
from registry.trust.keys import Signer

__all__ = ["LEEWAY_SECONDS", "StatementKey", "Use"]

#: A statement or key is good this long before its `nbf`: clocks of tiers differ.
LEEWAY_SECONDS = 300

Use = Literal["sig", "log", "tls"]


@dataclass(frozen=True, slots=True)
class StatementKey:
    """One key of the subject.

    Attributes:
        kid: thumbprint.
        alg: its algorithm.
        jwk: the required members.
        use: what it serves, and nothing else.
        nbf, exp: POSIX seconds between which it signed or signs; None: no end is set yet.
    """

    kid: str
    alg: str
    jwk: Mapping[str, str] = field(hash=False)
    use: Use = "sig"
    nbf: int = 0
    exp: int | None = None

    @classmethod
    def of(
        cls, key: Signer | PublicKey, *, nbf: int, exp: int | None = None, use: Use = "sig"
    ) -> "StatementKey":
        """Return the entry for a key."""
        return cls(kid=key.kid, alg=key.alg, jwk=dict(key.jwk), use=use, nbf=nbf, exp=exp)

    @property
    def public(self) -> PublicKey:
        """The key itself.

        Raises:
            UntrustedError: it is not admitted.
        """
        return admit({**self.jwk, "kid": self.kid, "alg": self.alg}, (self.alg,))

    def good_at(self, at: float) -> bool:
        """Say whether what was signed at `at` lies in the life of this key."""
        return self.nbf - LEEWAY_SECONDS <= at and (self.exp is None or at <= self.exp)
