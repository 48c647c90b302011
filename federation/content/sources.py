"""Every source of this room, made in one place for the composition root."""

from federation.content.dataset import Datasets
from federation.content.figures import Statistics
from federation.content.policy import Policy
from federation.content.ports import HomedPrefixes
from federation.content.registrations import Registrations
from federation.content.snapshots import NOTHING, Rows, Snapshots
from federation.content.subjects import Subjects
from federation.content.templates import Metadata
from federation.exchange.sealing import Source
from registry.clock import Clock
from registry.template import TemplateCatalogue

__all__ = ["sources"]

#: Figures of days that are over: what is no longer put together stays told.
_KEPT = frozenset({"t3", "t8", "node-statistics"})


def sources(
    *,
    homes: HomedPrefixes,
    datasets: Datasets,
    policy: Policy,
    clock: Clock,
    templates: TemplateCatalogue,
) -> list[Source]:
    """Return the sources, in the order in which they are asked on a stream.

    Args:
        homes: the prefixes this node speaks for, and what it delegated.
        datasets: what is declared.
        policy: what is shared with whom, and how soon.
        clock: the time.
        templates: what records are made by.
    """
    subjects = Subjects(homes=homes, subject=datasets.newest("t1"))
    metadata = Metadata(templates)
    figures = Statistics(homes=homes)
    tables: dict[str, Rows] = {
        "t1": subjects.t1,
        "t2": subjects.t2,
        "t6": subjects.t6,
        "t7": subjects.t7,
        "t4": metadata.t4,
        "t11": metadata.t11,
        "t5": NOTHING,
        "t10": NOTHING,
        "t3": figures.t3,
        "t8": figures.t8,
        "node-statistics": figures.node,
    }
    made: list[Source] = [
        Snapshots(
            homes=homes,
            dataset=datasets.newest(name),
            policy=policy,
            clock=clock,
            rows=rows,
            keeps=name in _KEPT,
        )
        for name, rows in tables.items()
    ]
    made.append(Registrations(homes=homes, dataset=datasets.newest("t9"), policy=policy, clock=clock))
    return made
