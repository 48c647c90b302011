"""What can be set about the exchange; the defaults are the figures of the facts file on federation, (b) and (c)."""

from dataclasses import dataclass

__all__ = ["ExchangeConfig"]


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """Settings of sealing, sending, polling, heads and proofs.

    Attributes:
        seal_chunk: drafts that get their numbers in one transaction; small, so that an alarm never waits long.
        seal_seconds: pause between two looks for new drafts; the alarm stream is looked at ten times as often.
        batch_envelopes: envelopes in one request at most.
        batch_bytes: bytes of envelopes in one request at most, however few they then are.
        lanes_at_once: lanes of one stream that are sent on at the same time.
        look_seconds: pause between two looks for lanes with something to send, when nothing wakes the sender.
        poll_backoff_seconds: greatest pause after the first poll that failed; it doubles up to half a minute.
        request_seconds: for one request as a whole, however slowly the answer drips.
        answer_bytes: a longer answer is refused.
        poll_wait_seconds: how long the superior may keep a poll waiting.
        poll_limit: envelopes in one answer to a poll.
        head_seconds: between two signed heads of a lane.
        prove_seconds: between two rounds of fetching proofs.
        prove_batch: proofs in one question; the facts allow 1,000.
        witness_seconds: the proof of a receipt waits this long for a checkpoint that a witness has signed too.
        keep_days: envelopes are kept this long after their receipt, proven or not.
        prune_batch: envelopes removed in one transaction.
        amber_unsent_seconds: the oldest unsent envelope may be this old before the status turns amber.
        red_unsent_seconds: and before it turns red.
        amber_lag: envelopes a receiver may lack of what its sender's signed head says.
        skew_seconds: difference of clocks that is reported.
        head_silent_seconds: a sender whose head is older hides its lag.
        disk_amber_share: part of the disk in use that is reported.
        disk_red_share: part of the disk in use at which the node is no longer ready.
        key_amber_days: a key or chain that ends within this time is reported.
    """

    seal_chunk: int = 256
    seal_seconds: float = 1.0
    batch_envelopes: int = 256
    batch_bytes: int = 4 << 20
    lanes_at_once: int = 8
    look_seconds: float = 2.0
    poll_backoff_seconds: float = 1.0
    request_seconds: float = 60.0
    answer_bytes: int = 16 << 20
    poll_wait_seconds: float = 25.0
    poll_limit: int = 64
    head_seconds: float = 60.0
    prove_seconds: float = 10.0
    prove_batch: int = 1_000
    witness_seconds: int = 3_600
    keep_days: int = 90
    prune_batch: int = 2_000
    amber_unsent_seconds: int = 900
    red_unsent_seconds: int = 86_400
    amber_lag: int = 10_000
    skew_seconds: int = 300
    head_silent_seconds: int = 300
    disk_amber_share: float = 0.8
    disk_red_share: float = 0.9
    key_amber_days: int = 14
