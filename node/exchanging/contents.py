"""What is exchanged: the datasets, what may go where, the questions, and who understands what arrives."""

from dataclasses import dataclass

from federation.content.dataset import Datasets, load_datasets
from federation.content.policy import Policy
from federation.content.received import handlers as entry_handlers
from federation.content.sources import sources
from federation.escrow.announcing import KeyAnnouncements, KeyHandler
from federation.escrow.deposit import Deposits
from federation.escrow.holding import escrow_handlers
from federation.exchange.chains import Chains
from federation.exchange.handlers import Handlers
from federation.exchange.outbox import Outbox
from federation.exchange.relayed import relay_handlers
from federation.exchange.sealing import Source
from federation.queries.service import AnswerHandler, AskHandler, Queries
from federation.queries.sorts import RecordsSort
from node.exchanging.below import Below
from node.exchanging.ground import Ground
from registry.prefixes.revoking import KeyJudge

__all__ = ["Contents", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The parts that know what envelopes hold.

    Attributes:
        sources: what makes drafts of its own.
    """

    datasets: Datasets
    policy: Policy
    outbox: Outbox
    queries: Queries
    handlers: Handlers
    sources: tuple[Source, ...]


def gather(ground: Ground, chains: Chains, judge: KeyJudge) -> Contents:
    """Make the parts.

    Raises:
        InvalidValueError: a rule of sharing cannot be read.
    """
    datasets = load_datasets()
    policy = Policy(datasets=datasets, config=ground.settings.sharing, secret=ground.sharing_secret)
    outbox = Outbox(clock=ground.clock)
    queries = Queries(
        transactions=ground.database,
        children=Below(ground.homes),
        outbox=outbox,
        sorts=(RecordsSort(records=ground.registry.records),),
        clock=ground.clock,
        entropy=ground.entropy,
    )
    handlers = Handlers(
        *entry_handlers(datasets),
        AskHandler(queries),
        AnswerHandler(queries),
        KeyHandler(),
        *escrow_handlers(),
    )
    for handler in relay_handlers(handlers, chains, ground.clock.now, judge=judge):
        handlers.register(handler)
    return Contents(
        datasets=datasets,
        policy=policy,
        outbox=outbox,
        queries=queries,
        handlers=handlers,
        sources=(
            *sources(
                homes=ground.homes,
                datasets=datasets,
                policy=policy,
                clock=ground.clock,
                templates=ground.templates,
            ),
            *_escrow(ground),
        ),
    )


def _escrow(ground: Ground) -> list[Source]:
    """Return what announces this node's escrow keys, and what deposits its prefixes with their superiors."""
    made: list[Source] = [KeyAnnouncements(homes=ground.homes, keys=ground.escrow_keys, clock=ground.clock)]
    if ground.settings.sharing.escrow_enabled:
        deposits = Deposits(
            homes=ground.homes,
            signers=ground.homes,
            clock=ground.clock,
            entropy=ground.entropy,
            full_days=ground.settings.sharing.escrow_full_days,
        )
        made.append(deposits)
    return made
