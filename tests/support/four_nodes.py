"""Four real nodes in three tiers: the top 88, the park 88.107 below it, and two enterprises below the park.

with four_nodes(folder) as nodes:
    nodes["88.107.1002"].kill()
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.exchange_processes import QUICK
from tests.support.ports import free_ports
from tests.support.processes import Login, Served, an_init, joined, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ONE", "PARK", "TOP", "TWO", "FourNodes", "four_nodes"]

TOP, PARK, ONE, TWO = "88", "88.107", "88.107.1001", "88.107.1002"
_ABOVE = {PARK: TOP, ONE: PARK, TWO: PARK}


@dataclass
class FourNodes:
    """The processes and the administrators' logins, by prefix."""

    served: dict[str, Served] = field(default_factory=dict)
    logins: dict[str, Login] = field(default_factory=dict)

    def __getitem__(self, prefix: str) -> Served:
        return self.served[prefix]

    def data(self, prefix: str) -> Path:
        return self.served[prefix].data


@contextmanager
def four_nodes(folder: Path, **settings: str) -> Iterator[FourNodes]:
    """Make the nodes, let each join its superior, and serve until the block ends.

    Args:
        folder: for their data.
        settings: environment variables of all of them, over those of `QUICK`.
    """
    base = free_ports(*range(8))
    made = FourNodes()
    with ExitStack() as stack:
        for place, prefix in enumerate((TOP, *_ABOVE)):
            data = folder / prefix
            above = _ABOVE.get(prefix)
            root = () if above else ("--root", "--prefix", prefix)
            said = told(data, *an_init(base + 2 * place, *root))
            made.logins[prefix] = (
                joined(made.data(above), data, prefix) if above else Login(said["admin"], said["secret"])
            )
            made.served[prefix] = stack.enter_context(Served(data, **(QUICK | settings)))
        yield made
