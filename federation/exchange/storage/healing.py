"""Marks of a healing in the database, as rows of the counter table: they commit with what they speak of.

They say in which term of office the database was found whole, from which leaf on a healing looks, and when it was
last found to be older than what was signed.
"""

from sqlalchemy import Connection, delete, insert, select, update

from registry.storage.tables import counter

__all__ = ["HealingUnit"]

_FENCE = "fence"
_HEALED = "healed"
_SCAN = "heal_from"
_RESTORED = "restored"


class HealingUnit:
    """One transaction over the marks of a healing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def is_healed(self) -> bool:
        """Say whether the present term of office has found the database to be whole."""
        asked = select(counter.c.name, counter.c.next).where(counter.c.name.in_((_FENCE, _HEALED)))
        found = {row.name: int(row.next) for row in self._connection.execute(asked)}
        return found.get(_FENCE, 0) > 0 and found.get(_HEALED) == found.get(_FENCE)

    def set_healed(self, fence: int) -> None:
        """Note that the term of `fence` has found it whole."""
        self._put(_HEALED, fence)

    def was_healed(self) -> bool:
        """Say whether any term of office found this database whole since it was made or restored."""
        return self._get(_HEALED) is not None

    def forget(self) -> None:
        """Note that nobody has found it whole: it was just restored."""
        self._connection.execute(delete(counter).where(counter.c.name == _HEALED))

    def restored_at(self) -> int:
        """Return when the database was last found to be behind what was signed (POSIX seconds); 0: never."""
        return self._get(_RESTORED) or 0

    def set_restored(self, at: int) -> None:
        """Note that the database was found to be behind; a later time than whatever was noted before."""
        self._put(_RESTORED, max(at, self.restored_at() + 1))

    def scan_from(self) -> int | None:
        """Return the first leaf that came back and was not looked at yet."""
        return self._get(_SCAN)

    def set_scan_from(self, position: int | None) -> None:
        """Remember that leaves from `position` on come back; None: all of them were looked at."""
        if position is None:
            self._connection.execute(delete(counter).where(counter.c.name == _SCAN))
        else:
            self._put(_SCAN, position)

    def _get(self, name: str) -> int | None:
        found = self._connection.execute(select(counter.c.next).where(counter.c.name == name)).scalar()
        return None if found is None else int(found)

    def _put(self, name: str, value: int) -> None:
        changed = self._connection.execute(update(counter).where(counter.c.name == name).values(next=value))
        if not changed.rowcount:
            self._connection.execute(insert(counter).values(name=name, next=value))
