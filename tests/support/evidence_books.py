"""The books of a sender and of a receiver after a real exchange, and the exporters over them.

with books(tmp_path) as both:                       # five envelopes, receipted, logged, witnessed by the top, proven
    both.at_receiver.export(both.envs[0]).data
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from federation.evidence.bundle import SignedList
from federation.evidence.export import Exporter
from federation.exchange.lane import Lane, Send
from federation.exchange.proving import Proofs, check_proofs
from federation.exchange.storage.sending import LaneName
from federation.log.checkpoint import open_checkpoint
from federation.log.note import cosign, key_of, parse_note
from federation.log.reading import LogReader
from federation.log.writer import LogWriter
from registry.clock import SystemClock
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.encoding import b64u
from tests.bench._exchange import AUD, ISS, STREAM, Entries, a_draft, a_log_key, a_sender, a_tree, opened
from tests.support.exchange_nodes import a_desk
from tests.support.log import MemoryMarks
from tests.support.trust import Chain

__all__ = ["TOP", "Both", "Known", "books"]

_COUNT = 5
TOP = "88"


@dataclass
class Known:
    """What a node knows about who vouches for whom; implements `Vouchers`."""

    tree: Chain
    revoked: dict[str | None, SignedList] = field(default_factory=dict)
    histories: dict[str, SignedList] = field(default_factory=dict)
    later_roots: Sequence[str] = ()

    def roots(self) -> list[str]:
        return [self.tree.root.text, *self.later_roots]

    def chains(self, prefix: Prefix) -> list[tuple[str, ...]]:
        return [self.tree.tokens_of(prefix.key)] if prefix.key in self.tree.prefixes else []

    def revocations(self, issuer: Prefix | None) -> SignedList | None:
        return self.revoked.get(issuer.key if issuer else None)

    def history(self, subject: Prefix) -> SignedList | None:
        return self.histories.get(subject.key)


@dataclass
class Both:
    """A sender and a receiver that exchanged a few envelopes; the receiver's log is witnessed by the top."""

    tree: Chain
    known: Known
    envs: list[str]
    at_sender: Exporter
    at_receiver: Exporter
    now: int
    files: tuple[Path, ...] = ()


def _published(database: Database, name: str) -> LogWriter:
    writer = LogWriter(database, a_log_key(name), f"{name}/log1", MemoryMarks(), SystemClock())
    writer.publish()
    return writer


def _witnessed(database: Database, writer: LogWriter, now: int) -> None:
    stored = LogReader(database).checkpoint()
    top = a_log_key(TOP)
    signature = cosign(parse_note(stored.note).text, f"{TOP}/log1", top, now)
    writer.add_cosignatures(stored.size, [signature], [key_of(f"{TOP}/log1", top, kind=4)])


@contextmanager
def books(tmp_path: Path) -> Iterator[Both]:
    now = int(time.time())
    tree = a_tree(now)
    mine, theirs = (opened(f"sqlite:///{tmp_path / name}.sqlite3") for name in ("sender", "receiver"))
    with ThreadPoolExecutor(2) as executor:
        sending = a_sender(mine, "http://127.0.0.1:1", now, tmp_path, executor)
        desk = a_desk(theirs, AUD.key, clock=SystemClock(), tree=tree, note=Entries())
        with mine.write() as connection:
            for number in range(_COUNT):
                sending.outbox.append(connection, a_draft(number))
        sending.sealer.seal(STREAM, 256)
        lane = LaneName(ISS, AUD, STREAM)
        memory = Lane(ISS, AUD, STREAM, epoch=1, acked_seq=0, entropy=os.urandom, credit=256)
        rows = sending.settlement.load(lane, Send(1, 1, _COUNT), 4 << 20)
        lines = desk.inbound.receive(ISS, STREAM, [row.token for row in rows])
        plan = memory.plan(_COUNT, time.monotonic())
        assert isinstance(plan, Send)
        sending.settlement.settle(memory, plan, rows, lines, time.monotonic())
        _published(mine, ISS.key)
        _witnessed(theirs, _published(theirs, AUD.key), now + 1)
        _prove(mine, theirs, sending, [row.env for row in rows])
        known = Known(tree)
        yield Both(
            tree,
            known,
            [b64u(row.env) for row in rows],
            Exporter(database=mine, vouchers=known),
            Exporter(database=theirs, vouchers=known),
            now,
            (tmp_path / "sender.sqlite3", tmp_path / "receiver.sqlite3"),
        )
    mine.close()
    theirs.close()


def _prove(mine: Database, theirs: Database, sending: Any, envs: list[bytes]) -> None:
    """What the sender does after its receipts came."""
    receiver = Proofs(database=theirs, reaching=sending.reaching, clock=SystemClock())
    sender = Proofs(database=mine, reaching=sending.reaching, clock=SystemClock())
    told = receiver.proofs(ISS, [b64u(env) for env in envs])
    raw = told["checkpoint"].encode()
    signed = open_checkpoint(raw, sender.key(ISS, AUD))
    rows = sender.unproven(ISS, AUD, 100)
    sender.store(signed, raw, check_proofs(rows, told["proofs"], signed))
