"""Builders for what is exchanged: a node with a superior, a policy, deliveries.

park = a_reporting_node(tmp_path, clock)            # homes 88.107 under 88, with real keys, tables and registry
source = registrations(park, "t9=real-time")        # its registrations, sent at once
drafts = collected(park, source)                    # what would be sealed
arrive(top.database, drafts, handlers)              # applied at the receiver, as the exchange would
"""

import hashlib
from types import SimpleNamespace

from federation.content.config import SharingConfig
from federation.content.dataset import load_datasets
from federation.content.policy import Policy
from federation.content.received import handlers
from federation.content.registrations import Registrations
from federation.exchange.handlers import Delivery, Handlers
from federation.exchange.storage.healing import HealingUnit
from registry.identifier import Prefix
from registry.trust.encoding import b64u
from tests.support.exchange_healing import restored
from tests.support.prefixes import NOW, TestNode, a_node, a_top, joined

__all__ = [
    "SECRET",
    "a_policy",
    "a_reporting_node",
    "arrive",
    "as_of",
    "collected",
    "delivery",
    "entries_of",
    "everything",
    "registrations",
    "two_tiers",
]

SECRET = b"s" * 32


def a_policy(*rhythms, rules=()):
    return Policy(
        datasets=load_datasets(),
        config=SharingConfig(rules=tuple(rules), rhythms=tuple(rhythms)),
        secret=SECRET,
    )


def two_tiers(folder, clock, *, prefix="88.107"):
    """The top, and a node below it; both with the tables of the exchange."""
    top = a_top(folder, clock)
    below = a_node(folder, "below", clock)
    joined(top, below, prefix)
    return top, below


def a_reporting_node(folder, clock, *, prefix="88.107") -> TestNode:
    return two_tiers(folder, clock, prefix=prefix)[1]


def registrations(node, *rhythms, rules=()):
    return Registrations(
        homes=node.homes,
        dataset=load_datasets().newest("t9"),
        policy=a_policy(*rhythms, rules=rules),
        clock=node.clock,
    )


def collected(node, source, limit=100):
    """What a source gives in one transaction that commits."""
    with node.database.write() as connection:
        return list(source.collect(connection, limit))


def everything(node, source, limit=100):
    """What a source gives until it gives nothing more."""
    found = []
    while more := collected(node, source, limit):
        found += more
    return found


def as_of(node, picture):
    """Put an old picture of the node's database back, and note that it is one, as a healing does."""
    restored(node.database, picture)
    node.homes.refresh()
    with node.database.write() as connection:
        HealingUnit(connection).set_restored(int(node.clock.now()))


def entries_of(drafts):
    """The entries of drafts as they stand on the wire, in order."""
    return [entry for draft in drafts for entry in draft.body["entries"]]


def delivery(draft, *, number=1, via=(), receiver=None, received_at=NOW) -> Delivery:
    """A draft as the exchange hands it to a handler."""
    env = b64u(hashlib.sha256(f"{draft.iss.key}{draft.stream}{number}".encode()).digest())
    return Delivery(
        envelope=SimpleNamespace(env=env, iss=draft.iss, aud=draft.aud),
        origin=draft.iss,
        via=tuple(Prefix(one) for one in via),
        chain=None,
        received_at=received_at,
        body=draft.body,
        receiver=receiver or draft.aud,
    )


def arrive(database, drafts, *, known=None, first=1, via=(), receiver=None):
    """Apply drafts at a receiver, one transaction each."""
    kept = known or Handlers(*handlers(load_datasets()))
    for number, draft in enumerate(drafts, first):
        handler = kept.find(draft.type, draft.schema)
        assert handler is not None
        assert handler.stream == draft.stream
        handler.check(draft.body)
        with database.write() as connection:
            handler.apply(connection, delivery(draft, number=number, via=via, receiver=receiver))
