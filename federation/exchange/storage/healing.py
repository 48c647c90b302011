"""Marks of a healing in the database: which term of office it was done in, and from which leaf on it looks.

Both are rows of the counter table, so that they commit with what they speak of.
"""

from sqlalchemy import Connection, delete, insert, select, update

from registry.storage.tables import counter

__all__ = ["HealingUnit"]

_FENCE = "fence"
_HEALED = "healed"
_SCAN = "heal_from"


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

    def forget(self) -> None:
        """Note that nobody has found it whole: it was just restored."""
        self._connection.execute(delete(counter).where(counter.c.name == _HEALED))

    def scan_from(self) -> int | None:
        """Return the first leaf that came back and was not looked at yet."""
        asked = select(counter.c.next).where(counter.c.name == _SCAN)
        found = self._connection.execute(asked).scalar()
        return None if found is None else int(found)

    def set_scan_from(self, position: int | None) -> None:
        """Remember that leaves from `position` on come back; None: all of them were looked at."""
        if position is None:
            self._connection.execute(delete(counter).where(counter.c.name == _SCAN))
        else:
            self._put(_SCAN, position)

    def _put(self, name: str, value: int) -> None:
        changed = self._connection.execute(update(counter).where(counter.c.name == name).values(next=value))
        if not changed.rowcount:
            self._connection.execute(insert(counter).values(name=name, next=value))
