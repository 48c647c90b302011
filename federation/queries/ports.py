"""What the queries need of the rest of the node."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from registry.identifier import Prefix

__all__ = ["Children", "Entropy", "Transactions"]

Entropy: TypeAlias = Callable[[int], bytes]


class Transactions(Protocol):
    """The database, as `registry.storage.engine.Database`.

    Consistency: snapshots and serialised writes. Durability: what `write` left is on the disk. Concurrency: any
    number of threads. Errors: UnavailableError.
    """

    def read(self) -> AbstractContextManager[Any]:
        """Open a read-only snapshot."""
        ...

    def write(self) -> AbstractContextManager[Any]:
        """Open one transaction."""
        ...


class Children(Protocol):
    """Who stands directly below a prefix of this node.

    Consistency: as of the last look at the tables. Concurrency: any number of threads. Errors: none.
    """

    def of(self, prefix: Prefix) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
        """Return the active children hosted here, and those that have nodes of their own."""
        ...
