"""The database side of a healing: leaves that came back are looked at, own envelopes are stored again, epochs opened.

Rules (facts on federation, (b) "Restore from backup"):

- a leaf about a received envelope that is not in the inbox is kept aside: the envelope sent again gets the very
  receipt it had, and no second leaf;
- an own envelope that comes back must be the next of its lane, signed by a key of ours, with a receipt that holds;
  where its leaves are not in the log they are appended, the same as they were;
- what waits for a number and was sent already, as the envelope shows, is not sent a second time;
- a lane that goes on in a new epoch seals again there what was sealed before and never answered, under the names
  (`jti`) it had: a receiver that took it in before lets nothing happen twice. No number is used twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from federation.exchange import envelope as wire
from federation.exchange.assessing import BEHIND
from federation.exchange.envelope import Envelope, encode_body
from federation.exchange.epoch import EpochStatement
from federation.exchange.receipt import Receipt
from federation.exchange.returning import (
    Reached,
    Returned,
    ack_leaf,
    epoch_leaf,
    epoch_row,
    follow,
    out_leaf,
    prefix_of,
    raw_digest,
    read_leaf,
    sent_already,
    settled,
    to_outgoing,
)
from federation.exchange.sealing import MaySign
from federation.exchange.settling import ReceiverKeys, read_answer
from federation.exchange.storage.healing import HealingUnit
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import (
    Acknowledgement,
    LaneName,
    LaneState,
    SendingUnit,
    Waiting,
)
from federation.log.storage import LogUnit
from registry.clock import Clock
from registry.errors import UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import jws
from registry.trust.algorithms import PublicKey

__all__ = ["OwnKeys", "Recovery", "healed_only"]

_LEAVES = 2_000
_PENDING = 10_000
_BATCH = 256
_BYTES = 1 << 22
#: Leaves about own envelopes.
_SENT = frozenset({"out", "ack"})


class OwnKeys(Protocol):
    """The public keys this node signs with. Concurrency: any number of threads. Errors: as said."""

    def own(self, prefix: Prefix, kid: str, at: float) -> PublicKey:
        """Return the key with which the homed `prefix` signed something at the time `at`.

        Raises:
            UntrustedError: it has, and had, no such key.
        """
        ...


def healed_only(held: Callable[[], int], *, alone: bool) -> MaySign:
    """Return the check that the present term of office has found the database whole; for the receiving side.

    Args:
        held: returns the fence this process holds; 0 when none.
        alone: no other process shares the database, so this one must be the elected one.

    The check raises UnavailableError; the sender comes again.
    """

    def check(connection: Any) -> None:
        if (alone and not held()) or not HealingUnit(connection).is_healed():
            raise UnavailableError("federation.exchange_healing.not_yet", retry_after=2)

    return check


class Recovery:
    """Reads and repairs the books.

    Consistency: one transaction for each call that writes. Durability: as the database. Concurrency: one healing at a
    time; only the holder of the fence writes. Errors: ConflictError when another process has taken over,
    UnavailableError when the database does not answer, and as said at each method.
    """

    def __init__(
        self,
        *,
        database: Database,
        own_keys: OwnKeys,
        receiver_keys: ReceiverKeys,
        may_sign: MaySign,
        clock: Clock,
    ) -> None:
        """Take the parts.

        Args:
            database: the node's.
            own_keys: verify own envelopes that come back.
            receiver_keys: verify their receipts.
            may_sign: lets the elected process write and no other.
            clock: the time.
        """
        self._database = database
        self._own = own_keys
        self._receivers = receiver_keys
        self._may_sign = may_sign
        self._clock = clock

    def lanes(self) -> list[LaneState]:
        """Return every lane there is."""
        with self._database.read() as connection:
            return SendingUnit(connection).lanes()

    def lane(self, lane: LaneName) -> LaneState | None:
        """Return one lane; None before it was ever sealed on."""
        with self._database.read() as connection:
            return SendingUnit(connection).lane(lane)

    def log_size(self) -> int:
        """Return how many leaves there are."""
        with self._database.read() as connection:
            return LogUnit(connection).size()

    def under_way(self) -> bool:
        """Say whether a healing was begun and not finished."""
        with self._database.read() as connection:
            return HealingUnit(connection).scan_from() is not None

    def was_healed(self) -> bool:
        """Say whether any term of office found this database whole since it was made or restored."""
        with self._database.read() as connection:
            return HealingUnit(connection).was_healed()

    # the log

    def begin_log(self) -> None:
        """Remember where leaves begin to come back, before the first of them does."""
        with self._database.write() as connection:
            self._may_sign(connection)
            self._remember(connection)

    def scan_log(self) -> dict[LaneName, Reached]:
        """Look at the leaves that came back: keep aside what was received, return how far own lanes had come."""
        with self._database.read() as connection:
            first = HealingUnit(connection).scan_from()
        reached: dict[LaneName, Reached] = {}
        while first is not None:
            with self._database.write() as connection:
                self._may_sign(connection)
                rows = LogUnit(connection).numbered(first, _LEAVES)
                self._keep_aside(connection, rows, reached)
            first = rows[-1][0] + 1 if rows else None
        return reached

    def _keep_aside(
        self, connection: Any, rows: Sequence[tuple[int, bytes]], reached: dict[LaneName, Reached]
    ) -> None:
        unit = ReceivedUnit(connection)
        received: dict[bytes, tuple[int, bytes]] = {}
        for position, raw in rows:
            leaf = read_leaf(raw)
            if leaf is None:
                continue
            if leaf.kind == "in":
                received[raw_digest(leaf.env)] = (position, raw)
                continue
            if leaf.kind not in _SENT:
                continue  # an epoch may be somebody else's
            lane = reached.setdefault(
                LaneName(prefix_of(leaf.iss), prefix_of(leaf.aud), leaf.stream), Reached()
            )
            if leaf.kind == "out" and (leaf.epoch, leaf.seq) > lane.place:
                lane.place, lane.env = (leaf.epoch, leaf.seq), leaf.env
        there = {**unit.known(list(received)), **unit.refound(list(received))}
        unit.put_refound([(env, *place) for env, place in received.items() if env not in there])

    # own envelopes

    def take_back(self, lane: LaneName, returned: Sequence[Returned]) -> tuple[int, int]:
        """Store own envelopes a receiver gave back, in order.

        Returns:
            Where the lane stands then: its epoch, and the last number that is answered.

        Raises:
            MalformedError, LimitError: one of them cannot be read.
            UntrustedError: one is not ours, not the next one, or its receipt does not hold.
        """
        made = [self._verified(lane, one) for one in returned]
        now = int(self._clock.now())
        with self._database.write() as connection:
            self._may_sign(connection)
            unit = SendingUnit(connection)
            known = unit.lock_lanes([lane]).get(lane)
            state = known or LaneState(lane=lane, epoch=1, next_seq=1, prev=b"")
            fresh: list[tuple[Envelope, Receipt]] = []
            late: list[tuple[Envelope, Receipt]] = []
            for envelope, receipt in made:
                if (envelope.epoch, envelope.seq) >= (state.epoch, state.next_seq):
                    state = follow(state, envelope, new=known is None and not fresh)
                    fresh.append((envelope, receipt))
                elif envelope.epoch == state.epoch and envelope.seq > state.acked_seq:
                    late.append((envelope, receipt))
            self._answer(connection, lane, late, now)
            if fresh:
                self._remember(connection)
                self._store(connection, lane, fresh)
            if fresh or late:
                state = settled(state, [*late, *fresh], now)
            if state.failure == BEHIND:
                state = replace(state, state="open", failure=None, failed_at=None)
            if fresh or known is not None:
                unit.put_lane(state, new=known is None)
            return state.epoch, state.acked_seq

    @staticmethod
    def _remember(connection: Any) -> None:
        """Note, before anything is stored, that this database was behind: what comes back shows it."""
        unit = HealingUnit(connection)
        if unit.scan_from() is None:
            unit.set_scan_from(LogUnit(connection).size())

    def _answer(
        self, connection: Any, lane: LaneName, late: Sequence[tuple[Envelope, Receipt]], now: int
    ) -> None:
        """Store the receipts of envelopes that are here and were not answered yet."""
        if not late:
            return
        unit = SendingUnit(connection)
        found = unit.found([raw_digest(envelope.env) for envelope, _ in late])
        for envelope, _ in late:
            if raw_digest(envelope.env) not in found:
                raise UntrustedError(
                    "federation.exchange_healing.other_content", field="seq", value=envelope.seq
                )
        places = self._places(LogUnit(connection), [ack_leaf(lane, receipt) for _, receipt in late], late)
        acks = [
            Acknowledgement(
                seq=envelope.seq,
                receipt=receipt.token.encode(),
                outcome=receipt.outcome,
                code=receipt.code,
                leaf_index=receipt.leaf_index,
                ack_index=place,
            )
            for (envelope, receipt), place in zip(late, places, strict=True)
        ]
        unit.acknowledge(lane, late[0][0].epoch, acks, now)

    def _verified(self, lane: LaneName, returned: Returned) -> tuple[Envelope, Receipt]:
        envelope = wire.read(wire.parse(returned.token))
        if (envelope.iss, envelope.aud, envelope.stream) != tuple(lane):
            raise UntrustedError("federation.exchange_healing.other_lane", field="token", value=envelope.env)
        jws.verify(envelope.parsed, self._own.own(lane.iss, envelope.kid, envelope.iat))
        row = to_outgoing(lane, envelope, None)
        receipt = read_answer(row, returned.receipt, self._receivers)
        if not receipt.final or receipt.iss != lane.aud:
            raise UntrustedError(
                "federation.exchange_healing.no_receipt", field="receipt", value=envelope.env
            )
        return envelope, receipt

    def _store(self, connection: Any, lane: LaneName, fresh: Sequence[tuple[Envelope, Receipt]]) -> None:
        log = LogUnit(connection)
        outs = self._places(log, [out_leaf(lane, envelope) for envelope, _ in fresh], fresh)
        acks = self._places(log, [ack_leaf(lane, receipt) for _, receipt in fresh], fresh)
        unit = SendingUnit(connection)
        unit.add(
            [
                replace(to_outgoing(lane, envelope, receipt), out_index=out, ack_index=ack)
                for (envelope, receipt), out, ack in zip(fresh, outs, acks, strict=True)
            ]
        )
        unit.remove_pending(sent_already(unit.pending(lane, _PENDING), [one for one, _ in fresh]))

    @staticmethod
    def _places(
        log: LogUnit, leaves: Sequence[bytes], about: Sequence[tuple[Envelope, Receipt]]
    ) -> list[int]:
        """Return where leaves stand in the log; those that are not there are appended."""
        found = log.find([envelope.env for envelope, _ in about])
        there = {raw: position for rows in found.values() for position, raw in rows}
        missing = [leaf for leaf in leaves if leaf not in there]
        first = log.append(missing) if missing else 0
        there.update({leaf: first + place for place, leaf in enumerate(missing)})
        return [there[leaf] for leaf in leaves]

    # epochs

    def open_epoch(self, lane: LaneName, statement: EpochStatement, countersigned: str) -> None:
        """Begin a lane anew; what was sealed before and has no receipt gets a new number there.

        Raises:
            ConflictError: the lane is in that epoch, or a later one, already.
        """
        now = int(self._clock.now())
        with self._database.write() as connection:
            self._may_sign(connection)
            unit = SendingUnit(connection)
            known = unit.lock_lanes([lane]).get(lane)
            if known is not None:
                if known.epoch >= statement.epoch:
                    return
                self._seal_again(unit, known, now)
            start = statement.start
            base = known or LaneState(lane=lane, epoch=1, next_seq=1, prev=b"")
            ReceivedUnit(connection).put_epoch(epoch_row(lane, statement, countersigned, now))
            unit.put_lane(
                replace(
                    base,
                    epoch=start.epoch,
                    next_seq=1,
                    prev=raw_digest(start.prev),
                    acked_seq=0,
                    state="open",
                    failure=None,
                    failed_at=None,
                    chain=None,
                ),
                new=known is None,
            )
            LogUnit(connection).append([epoch_leaf(lane, statement)])

    def _seal_again(self, unit: SendingUnit, state: LaneState, now: int) -> None:
        """Let what was sealed and never answered wait for a number again, before what waited already."""
        drafts = self._unanswered(unit, state, now)
        while drafts and (waiting := unit.pending(state.lane, _PENDING)):
            drafts += [replace(draft, position=None) for draft in waiting]
            unit.remove_pending([draft.position for draft in waiting if draft.position is not None])
        unit.append(drafts)

    def _unanswered(self, unit: SendingUnit, state: LaneState, now: int) -> list[Waiting]:
        """Return, as drafts again, what the old epoch had sealed and nobody has acknowledged."""
        drafts: list[Waiting] = []
        after = state.acked_seq
        while rows := unit.batch(
            state.lane, (state.epoch, after), limit=_BATCH, max_bytes=_BYTES, epoch=state.epoch
        ):
            for row in rows:
                envelope = wire.read(wire.parse(row.token))
                data = unit.body(row.body) if row.body is not None else encode_body(envelope.body)
                if data is not None:
                    media = envelope.detached.media if envelope.detached is not None else None
                    drafts.append(
                        Waiting(
                            position=None,
                            lane=state.lane,
                            type=envelope.type,
                            schema=envelope.schema,
                            body=data,
                            media=media,
                            ref=envelope.ref,
                            at=now,
                            jti=envelope.jti,
                        )
                    )
            after = rows[-1].seq
        return drafts

    def stop_lane(self, lane: LaneName, code: str) -> None:
        """Send nothing on a lane that cannot be healed now."""
        with self._database.write() as connection:
            self._may_sign(connection)
            SendingUnit(connection).stop(lane, code, int(self._clock.now()))

    # the end

    def finish(self, fence: int, *, restored: bool = False) -> None:
        """Note that the term of `fence` has found the database whole: from now on it may be received and signed.

        Args:
            fence: of this term.
            restored: it was behind before; whoever tells of its state tells all of it anew.
        """
        with self._database.write() as connection:
            self._may_sign(connection)
            unit = HealingUnit(connection)
            if restored:
                unit.set_restored(int(self._clock.now()))
            unit.set_scan_from(None)
            unit.set_healed(fence)
