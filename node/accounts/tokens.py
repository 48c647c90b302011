"""Short access tokens: JWTs signed with a key that never leaves this node.

HS256 alone: the node that issues is the node that verifies. A token names the account and the version of its state;
what the account may do is looked up, so a token never outlives a role by more than the recheck time.

Another node, which proved itself by its chain, gets a token of another type: it names the node's prefix and the
fencing number of the copy that asked, and can never be taken for an account's.
"""

from dataclasses import dataclass
from typing import Any

import jwt

from registry.clock import Clock
from registry.errors import UnauthenticatedError
from registry.identifier import Prefix

__all__ = ["NODE_SECONDS", "Claims", "NodeTokens", "Tokens"]

#: How long the token of another node lives; it opens a new session after that.
NODE_SECONDS = 300

_ALGORITHM = "HS256"
_TYPE = "hz-access+jwt"
_NODE_TYPE = "hz-node+jwt"
_LARGEST = 2_048


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says.

    Attributes:
        name: the account; of another node its folded prefix.
        version: of the account's state; of another node the fencing number of its session.
        expires: POSIX seconds.
        node: it is another node's.
    """

    name: str
    version: int
    expires: int
    node: bool = False


class Tokens:
    """Issues and verifies access tokens of one node."""

    def __init__(self, *, key: bytes, audience: str, seconds: int, clock: Clock) -> None:
        self._key = key
        self._audience = audience
        self._clock = clock
        self.seconds = seconds

    def issue(self, name: str, version: int) -> str:
        """Return a token for the account in that version."""
        return self._encoded(name, version, self.seconds, _TYPE)

    def issue_node(self, prefix: Prefix, fence: int) -> str:
        """Return a token for another node that speaks for `prefix`, in the session with that fencing number."""
        return self._encoded(prefix.key, fence, NODE_SECONDS, _NODE_TYPE)

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
        typ = found["header"].get("typ")
        if typ not in (_TYPE, _NODE_TYPE) or type(expires) is not int or type(version) is not int:
            raise UnauthenticatedError("node.accounts.token", reason="typ")
        if self._clock.now() >= expires:
            raise UnauthenticatedError("node.accounts.token_expired")
        return Claims(claims["sub"], version, expires, node=typ == _NODE_TYPE)

    def _encoded(self, name: str, version: int, seconds: int, typ: str) -> str:
        now = int(self._clock.now())
        claims = {"aud": self._audience, "sub": name, "ver": version, "iat": now, "exp": now + seconds}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"typ": typ})


class NodeTokens:
    """Tokens of other nodes; what the exchange asks for when a session was opened."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def issue(self, prefix: Prefix, fence: int) -> tuple[str, int]:
        """Return a token for a session, and its life in seconds."""
        return self._tokens.issue_node(prefix, fence), NODE_SECONDS
