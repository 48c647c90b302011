"""Whether a restored node has the keys it needs: those of its database, and those its superiors name by now.

A backup may be older than a rotation. Keys are never in it, so the key folder may have the newer key, and then the
node goes on with that; where it has not, nothing may be signed, and the operator is told at once what to bring.
"""

from dataclasses import dataclass
from typing import Protocol

from registry.delegation import Home, HomeState
from registry.errors import HazlinkError, UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.prefixes.own_keys import KEY_FOREIGN

__all__ = ["FOREIGN", "GOOD", "MISSING", "OTHER", "SILENT", "Asking", "KeyState", "look_at_keys"]

#: The key is here, and its superior, where it has one, names it.
GOOD = "good"
#: Its superior names a key that is not here.
FOREIGN = "foreign"
#: The key of the database is not in the key folder.
MISSING = "missing"
#: Its superior could not be asked.
SILENT = "silent"
#: Its superior says something else that has to be looked at.
OTHER = "other"

_OVER = frozenset({HomeState.REFUSED, HomeState.REVOKED, HomeState.CLOSED})


class Asking(Protocol):
    """Asks superiors; `federation.membership.service.Membership` is one. Errors: as said."""

    async def look(self, prefix: Prefix) -> Home:
        """Take in the newest delegation of a joined prefix.

        Raises:
            UntrustedError: it does not hold, or names a key that is not here.
            UnavailableError: the superior does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyState:
    """How it stands with the key of one prefix; `kid` is the key in use, `error` what is to be told."""

    prefix: Prefix
    kid: str
    state: str
    error: HazlinkError | None = None


async def look_at_keys(homes: Homes, asking: Asking) -> list[KeyState]:
    """Return how it stands with the key of each prefix of this node, after its superior was asked."""
    return [await _look(home, homes, asking) for home in homes.all() if home.state not in _OVER]


async def _look(home: Home, homes: Homes, asking: Asking) -> KeyState:
    state = GOOD
    failure: HazlinkError | None = None
    if home.superior is not None and home.chain:
        try:
            home = await asking.look(home.prefix)
        except UnavailableError as error:
            state, failure = SILENT, error
        except UntrustedError as error:
            state, failure = FOREIGN if error.code == KEY_FOREIGN else OTHER, error
        except HazlinkError as error:
            state, failure = OTHER, error
    if state in (GOOD, SILENT) and home.state is HomeState.ACTIVE:
        try:
            homes.signer_for(home.prefix)
        except HazlinkError as error:
            state, failure = MISSING, error
    return KeyState(home.prefix, home.kid, state, failure)
