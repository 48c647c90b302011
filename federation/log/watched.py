"""Which logs this node witnesses, with the keys their superiors certified and the prefixes that own them."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from federation.log.note import ED25519, NoteKey, parse_vkey
from registry.errors import HazlinkError
from registry.identifier import Prefix

__all__ = ["KnownLogs", "WatchedLog", "WatchedLogs", "log_digest", "owner_of"]


@dataclass(frozen=True, slots=True)
class WatchedLog:
    """A log this node witnesses.

    Attributes:
        origin: its name.
        keys: any of them may sign for it (two while one is rotated).
        owners: the prefixes homed with it.
        mirror: whether its entries are kept here as well.
    """

    origin: str
    keys: tuple[NoteKey, ...]
    owners: frozenset[Prefix] = frozenset()
    mirror: bool = False


class WatchedLogs(Protocol):
    """The logs this node witnesses.

    Consistency: as of the last refresh. Concurrency: any number of threads, never blocking. Errors: none.
    """

    def find(self, origin: str) -> WatchedLog | None:
        """Return the log of this name."""
        ...

    def find_digest(self, digest: str) -> WatchedLog | None:
        """Return the log whose name has this SHA-256 (64 hex digits)."""
        ...

    def owned(self, prefixes: Collection[Prefix]) -> list[WatchedLog]:
        """Return the logs of which one of these prefixes is an owner."""
        ...


class KnownLogs:
    """Watched logs in memory, made from what superiors certified; implements `WatchedLogs`.

    A log belongs to the prefix its name begins with: only that prefix's statement decides its key, so nobody can
    speak for another's log. Other prefixes certified with the same key are homed on the same node, and owners too.
    """

    def __init__(self) -> None:
        self._by_origin: dict[str, WatchedLog] = {}
        self._by_digest: dict[str, WatchedLog] = {}

    def replace(self, certified: Iterable[tuple[Prefix, str]], *, mirror: Collection[Prefix] = ()) -> None:
        """Take these in place of what was known.

        Args:
            certified: prefix and `ep.log_vkey` of verified statements; what cannot be read is left out.
            mirror: prefixes whose logs' entries are kept here too.
        """
        rows = [(prefix, key) for prefix, vkey in certified if (key := _log_key(vkey)) is not None]
        made: dict[str, WatchedLog] = {}
        for prefix, key in rows:
            if owner_of(key.name) == prefix:
                known = made.get(key.name) or WatchedLog(key.name, (), frozenset(), prefix in mirror)
                made[key.name] = replace(known, keys=(*known.keys, key))
        for prefix, key in rows:
            log = made.get(key.name)
            if log is not None and key in log.keys:
                made[key.name] = replace(log, owners=log.owners | {prefix})
        self._by_origin, self._by_digest = made, {log_digest(origin): log for origin, log in made.items()}

    def find(self, origin: str) -> WatchedLog | None:
        """Return the log of this name."""
        return self._by_origin.get(origin)

    def find_digest(self, digest: str) -> WatchedLog | None:
        """Return the log whose name has this SHA-256 (64 hex digits)."""
        return self._by_digest.get(digest)

    def owned(self, prefixes: Collection[Prefix]) -> list[WatchedLog]:
        """Return the logs of which one of these prefixes is an owner."""
        wanted = frozenset(prefixes)
        return [log for log in self._by_origin.values() if log.owners & wanted]


def log_digest(origin: str) -> str:
    """Return the name of a log as it stands in a path: 64 hex digits."""
    return hashlib.sha256(origin.encode()).hexdigest()


def _log_key(vkey: str) -> NoteKey | None:
    try:
        key = parse_vkey(vkey)
    except HazlinkError:
        return None
    return key if key.kind == ED25519 else None


def owner_of(origin: str) -> Prefix | None:
    """Return the prefix a log's name begins with (`88.107` of `88.107/log1`), or None."""
    try:
        return Prefix.parse(origin.rpartition("/")[0], field="origin")
    except HazlinkError:
        return None
