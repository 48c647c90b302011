"""Whose something is: the prefix in one of our own URIs.

`https://host/88.1.3/pty/C`, `hdl:88.1.3/B1` and the like name prefix 88.1.3. Departments of one enterprise
hold together: their holder is the prefix. A party or thing that is named otherwise keeps its whole name.
"""

from functools import lru_cache

from node.flow.events.uris import read_uri
from registry.identifier import Identifier

__all__ = ["holder_of", "prefix_of"]


@lru_cache(maxsize=65_536)
def prefix_of(uri: str) -> str | None:
    """Return the prefix under which a URI of ours was given out; None for any other URI."""
    reference = read_uri(uri)
    return None if reference is None else Identifier.parse(reference.identifier).prefix.key


def holder_of(party: str) -> str:
    """Return what the ledger calls a party."""
    return prefix_of(party) or party
