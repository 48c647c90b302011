"""What can be set about resolution; the defaults are the figures of the facts file on identifiers, §8.

But for one: "not found" is kept for a minute, not for hours (docs/adr/0007).
"""

from dataclasses import dataclass

__all__ = ["ResolverConfig"]


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """Settings of the resolver.

    Attributes:
        hop_limit: tiers one question may pass.
        negative_ttl_seconds: how long others may keep our "not found" (RFC 2308).
        negative_greatest_seconds: how long we keep another's "not found" at most.
        failure_first_seconds: how long a failure is remembered at first (RFC 9520); doubled each time.
        failure_greatest_seconds: and at most.
        stale_timer_seconds: how long a question waits for the owner before a stale answer is given (RFC 8767).
        stale_ttl_seconds: how long others may keep a stale answer.
        stale_keep_seconds: how long an answer is kept for that case at most, whatever its kind allows.
        fresh_share: part of a kind's greatest staleness during which an answer counts as fresh; the rest is left
            for the owner's absence.
        unknown_kind_staleness_seconds: greatest staleness of a kind whose template this node does not know.
        prefetch_share: part of its life before whose end a popular answer is fetched again.
        prefetch_least_asks: how often it must have been asked for to count as popular.
        delegation_seconds: how long a verified delegation is used before the tier above is asked again.
        positive_bytes: room for answers of other nodes, roughly.
        negative_entries: room for "not found".
        failure_entries: room for failures.
        high_water_entries: identifiers whose newest seen version is remembered.
        chain_entries: verified chains that are remembered.
        peer_batch: identifiers in one question to another node.
        changes_poll_seconds: how often the change table is looked at; it is looked at sooner when woken.
        changes_page: changes read at once.
        changes_kept: newest changes kept in memory for those who watch.
        lookup_lanes: batches of single look-ups that run at the same time.
        lookup_batch: single look-ups in one batch.
    """

    hop_limit: int = 10
    negative_ttl_seconds: int = 60
    negative_greatest_seconds: int = 3_600
    failure_first_seconds: float = 1.0
    failure_greatest_seconds: float = 30.0
    stale_timer_seconds: float = 1.8
    stale_ttl_seconds: int = 30
    stale_keep_seconds: int = 86_400
    fresh_share: float = 0.5
    unknown_kind_staleness_seconds: int = 300
    prefetch_share: float = 0.1
    prefetch_least_asks: int = 2
    delegation_seconds: float = 300.0
    positive_bytes: int = 64 << 20
    negative_entries: int = 50_000
    failure_entries: int = 20_000
    high_water_entries: int = 100_000
    chain_entries: int = 4_096
    peer_batch: int = 200
    changes_poll_seconds: float = 0.5
    changes_page: int = 1_000
    changes_kept: int = 10_000
    lookup_lanes: int = 2
    lookup_batch: int = 256
