"""What must stand in the books of two nodes that exchanged, whatever happened on the way; checked with SQL alone.

`require_equal(above, below)` holds for both directions: the accepted set equals the sent set, byte for byte and in
order for each lane; every receipt the sender stored is the receiver's; each number has one leaf of each kind; both
logs are sound. `Receipts` watches the network and holds every receipt that ever left a node against its books.
"""

import hashlib
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, zip_longest
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from federation.content.storage.tables import received
from federation.exchange.receipt import FINAL
from federation.exchange.storage.sending_tables import (
    exchange_lane,
    exchange_out,
    exchange_pending,
    exchange_unsendable,
)
from federation.exchange.storage.tables import exchange_conflict, exchange_in
from federation.log.storage.tables import log_leaf
from node.cli.base import at_node
from node.settings import load
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.storage.tables import record
from registry.trust.encoding import b64u
from tests.support.fault_proxy import Message

__all__ = [
    "ABOVE",
    "BELOW",
    "Progress",
    "Receipts",
    "Tally",
    "database_url",
    "opened",
    "progress",
    "require_equal",
]

ABOVE, BELOW = Prefix("88"), Prefix("88.107")
_CHUNK = 2_000
_PART = 500


@cache
def database_url(data: Path) -> str:
    return load(data).database_url


@contextmanager
def opened(data: Path) -> Iterator[Connection]:
    """One read snapshot of a node's database; the node may run, or be dead."""
    database = Database(database_url(data), pool_size=1)
    try:
        with database.read() as connection:
            yield connection
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a node has come with what it sends.

    Attributes:
        pending: drafts without a number.
        sealed: envelopes.
        acked: envelopes with a receipt.
        lanes: stream → (state, failure), of lanes that do not move on.
    """

    pending: int
    sealed: int
    acked: int
    lanes: dict[str, tuple[str, str | None]]

    @property
    def left(self) -> int:
        return self.pending + self.sealed - self.acked


def progress(data: Path) -> Progress:
    """Look into the books of a node."""
    with opened(data) as connection:
        pending = connection.execute(select(func.count()).select_from(exchange_pending)).scalar_one()
        lanes = connection.execute(select(exchange_lane)).all()
    return Progress(
        pending,
        sum(lane.next_seq - 1 for lane in lanes),
        sum(lane.acked_seq for lane in lanes),
        {lane.stream: (lane.state, lane.failure) for lane in lanes if lane.state != "open" or lane.failure},
    )


@dataclass
class Receipts:
    """Every final receipt that left a node, seen on the network: each must stand in its books, whatever came after."""

    count: int = 0
    _new: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def take(self, request: Message, answer: Message) -> None:
        """Look at a request and its answer."""
        if request.method != "POST" or not request.path.startswith("/exchange/"):
            return
        # what the node below fetched it answers with a request of its own
        raw = request.body if request.path == "/exchange/receipts" else answer.body
        for line in raw.splitlines():
            token = _receipt_of(line)
            if token is None:
                continue
            claims = payload(token)
            if claims.get("outcome") in FINAL:
                with self._lock:
                    self.count += 1
                    new = self._new.setdefault(claims["iss"].rpartition("/")[2], [])
                    new.append((_raw(claims["env"]), hashlib.sha256(token).digest()))

    def require_kept(self, data: Path) -> None:
        """Require that every receipt which left this node since the last call is in its database, byte for byte."""
        with self._lock:
            new = self._new.pop(data.name, [])
        with opened(data) as connection:
            for first in range(0, len(new), _PART):
                part = new[first : first + _PART]
                asked = select(exchange_in.c.env, exchange_in.c.receipt).where(
                    exchange_in.c.env.in_({env for env, _ in part})
                )
                kept = {
                    bytes(env): hashlib.sha256(receipt).digest() for env, receipt in connection.execute(asked)
                }
                for env, digest in part:
                    assert kept.get(env) == digest, (
                        f"{data.name} acknowledged {b64u(env)} and has no such receipt"
                    )


def _receipt_of(line: bytes) -> bytes | None:
    if line[:1] != b"{":
        return line if line.count(b".") == 2 else None
    try:
        found = orjson.loads(line).get("receipt")
    except orjson.JSONDecodeError:
        return None
    return found.encode() if isinstance(found, str) else None


def payload(token: bytes) -> dict[str, Any]:
    """Return what a compact JWS says; not verified."""
    found: dict[str, Any] = orjson.loads(_raw(token.split(b".")[1].decode()))
    return found


def _raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Tally:
    """What was found to be equal.

    Attributes:
        envelopes: by sender and stream.
        leaves: in the logs of both.
        entries: what stands at the receiver because of it.
    """

    envelopes: dict[str, int] = field(default_factory=dict)
    leaves: int = 0
    entries: int = 0


def require_equal(
    above: Path, below: Path, *, entries: int, alarms: int, records: Sequence[str] = ()
) -> Tally:
    """Require that both sides agree; both nodes have stopped, and nothing waits.

    Args:
        above: data folder of the node above.
        below: and of the one below.
        entries: entries that were queued one by one, `LOAD-0` and so on.
        alarms: alarms that were raised.
        records: identifiers whose registration was acknowledged.
    """
    tally = Tally()
    with opened(above) as high, opened(below) as low:
        for sender, receiver, who in ((low, high, BELOW), (high, low, ABOVE)):
            _require_quiet(sender, receiver)
            _require_same(sender, receiver, who, tally)
            _require_leaves(receiver, who)
        tally.entries = _require_effects(high, low, entries, alarms, records)
    for data in (above, below):
        with at_node(data) as node:
            report = node.check_log()
        found = [f"{one.where}: {one.message('en')}" for one in report.findings]
        assert not found, (data.name, found[:5])
        tally.leaves += report.leaves
    return tally


def _require_quiet(sender: Connection, receiver: Connection) -> None:
    for connection, table in (
        (sender, exchange_pending),
        (sender, exchange_unsendable),
        (receiver, exchange_conflict),
    ):
        found = connection.execute(select(table).limit(1)).first()
        assert found is None, (table.name, found)
    stopped = sender.execute(select(exchange_lane).where(exchange_lane.c.state != "open")).all()
    assert not stopped, ("lanes that do not move on", stopped)


def _require_same(sender: Connection, receiver: Connection, who: Prefix, tally: Tally) -> None:
    """Lane by lane, row by row: the same bytes, in one order, with the same receipts; nothing on one side alone."""
    out, come = exchange_out.c, exchange_in.c
    sent = sender.execute(
        select(out.stream, out.epoch, out.seq, out.env, out.token, out.receipt, out.leaf_index)
        .where(out.iss == who.key)
        .order_by(out.iss, out.aud, out.stream, out.epoch, out.seq)
        .execution_options(yield_per=_CHUNK)
    )
    arrived = receiver.execute(
        select(come.stream, come.epoch, come.seq, come.env, come.token, come.receipt, come.leaf_index)
        .where(come.iss == who.key)
        .order_by(come.iss, come.aud, come.stream, come.epoch, come.seq)
        .execution_options(yield_per=_CHUNK)
    )
    for stream, pairs in groupby(zip_longest(sent, arrived), key=lambda pair: (pair[0] or pair[1]).stream):
        last, before = None, -1
        number = 0
        for number, (ours, theirs) in enumerate(pairs, 1):
            assert ours is not None, ("received and never sent", who.key, stream, theirs.epoch, theirs.seq)
            assert theirs is not None, ("sent and not received", who.key, stream, ours.epoch, ours.seq)
            where = (who.key, stream, ours.epoch, ours.seq)
            differ = [name for name, mine in ours._asdict().items() if mine != getattr(theirs, name)]
            assert not differ, ("the two sides differ", where, differ)
            assert (ours.epoch, ours.seq) == (1, number), ("a gap", where)
            assert ours.leaf_index > before, ("taken out of order", where)
            claims = payload(ours.token)
            assert last is None or _raw(claims["prev"]) == last, ("the chain of hashes breaks", where)
            answer = payload(ours.receipt)
            assert _raw(answer["env"]) == ours.env, ("a receipt for something else", where)
            assert answer["outcome"] in {"accepted", "unapplied"}, (answer, where)
            last, before = ours.env, ours.leaf_index
        tally.envelopes[f"{who.key} {stream}"] = number


def _require_leaves(receiver: Connection, sender: Prefix) -> None:
    """As many `in` leaves as rows; that each row has its own leaf is part of the check of the log."""
    rows = receiver.execute(
        select(func.count()).select_from(exchange_in).where(exchange_in.c.iss == sender.key)
    ).scalar_one()
    kinds: Counter[str] = Counter()
    for (leaf,) in receiver.execute(select(log_leaf.c.leaf).execution_options(yield_per=_CHUNK)):
        said = orjson.loads(leaf)
        kinds[said.get("kind")] += said.get("iss", "").endswith(f"/{sender.key}")
    assert kinds["in"] == rows, ("leaves of what was received", kinds, rows)


def _require_effects(
    above: Connection, below: Connection, entries: int, alarms: int, records: Sequence[str]
) -> int:
    """One effect for each envelope: every entry once, in its one version, from an envelope that was accepted."""
    at = received.c
    known = {b64u(bytes(env)) for (env,) in above.execute(select(exchange_in.c.env))}
    loads: Counter[str] = Counter()
    found: set[str] = set()
    versions: dict[str, int] = {}
    rows = above.execute(
        select(at.dataset, at.key, at.version, at.env)
        .where(at.receiver == ABOVE.key, at.owner == BELOW.key)
        .execution_options(yield_per=_CHUNK)
    )
    total = 0
    for dataset, key, version, env in rows:
        total += 1
        assert env in known, ("an effect without an accepted envelope", dataset, key)
        if dataset == "t9" and "/load-" in key.lower():
            loads["entry"] += 1
            assert version == 1, ("an entry of a second version", key, version)
            assert env not in found, ("two effects of one envelope", key)
            found.add(env)
        elif dataset == "t9":
            versions[key.lower()] = version
        elif dataset == "alarm":
            loads["alarm"] += 1
    assert loads["entry"] == entries, ("effects and entries asked for", loads, entries)
    assert loads["alarm"] == alarms, ("effects and alarms asked for", loads, alarms)
    for prefix, suffix, version in below.execute(select(record.c.prefix, record.c.suffix, record.c.version)):
        if prefix.lower() == BELOW.key:
            name = f"{prefix}/{suffix}".lower()
            assert versions.get(name) == version, ("a registration did not arrive", name, version)
    missing = [name for name in records if name.lower() not in versions]
    assert not missing, ("acknowledged registrations that did not arrive", missing[:5])
    return total
