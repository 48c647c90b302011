"""Short access tokens: JWTs signed with a key that never leaves this node.

HS256 alone: the node that issues is the node that verifies. A token names the account and the version of its state;
what the account may do is looked up, so a token never outlives a role by more than the recheck time.
"""

from dataclasses import dataclass
from typing import Any

import jwt

from registry.clock import Clock
from registry.errors import UnauthenticatedError

__all__ = ["Claims", "Tokens"]

_ALGORITHM = "HS256"
_TYPE = "hz-access+jwt"
_LARGEST = 2_048


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    name: str
    version: int
    expires: int


class Tokens:
    """Issues and verifies access tokens of one node."""

    def __init__(self, *, key: bytes, audience: str, seconds: int, clock: Clock) -> None:
        self._key = key
        self._audience = audience
        self._clock = clock
        self.seconds = seconds

    def issue(self, name: str, version: int) -> str:
        """Return a token for the account in that version."""
        now = int(self._clock.now())
        claims = {"aud": self._audience, "sub": name, "ver": version, "iat": now, "exp": now + self.seconds}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"typ": _TYPE})

    def verify(self, token: str) -> Claims:
        """Return what the token says.

        Raises:
            UnauthenticatedError: not ours, changed, for somebody else, or expired.
        """
        if len(token) > _LARGEST:
            raise UnauthenticatedError("node.accounts.token", reason="size")
        try:
            # The library would read the machine's clock; expiry is judged below, by ours.
            found: dict[str, Any] = jwt.decode_complete(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                options={
                    "require": ["aud", "sub", "ver", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise UnauthenticatedError("node.accounts.token", reason=type(error).__name__) from None
        claims = found["payload"]
        expires, version = claims["exp"], claims["ver"]
        if found["header"].get("typ") != _TYPE or type(expires) is not int or type(version) is not int:
            raise UnauthenticatedError("node.accounts.token", reason="typ")
        if self._clock.now() >= expires:
            raise UnauthenticatedError("node.accounts.token_expired")
        return Claims(claims["sub"], version, expires)
