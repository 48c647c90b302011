"""What an answer comes to: receipts are verified and stored, each with an `ack` leaf, one transaction for a batch.

Rules (facts on federation, (b) "Receipt"):

- a receipt counts when a key of the receiver signed it and it is about this very envelope, member by member, and when
  the leaf it names is the one this receipt makes; whatever else came is "again";
- receipts, their leaves and the lane's new state commit together; the lane's memory is thrown away when they do not;
- a receipt that comes again must be the stored one, byte for byte; another one is noted, and replaces nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from federation.exchange import receipt as wire
from federation.exchange.answers import ReceiverKeys, leaf_of, read_answer
from federation.exchange.lane import Answer, Final, Lane, Result, Send
from federation.exchange.receipt import Line, Receipt
from federation.exchange.sealing import MaySign
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import (
    Acknowledgement,
    LaneName,
    LaneState,
    Outgoing,
    SendingUnit,
)
from federation.log.storage import LogUnit
from registry.clock import Clock
from registry.errors import HTTP_STATUS, HazlinkError, UnavailableError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.algorithms import PublicKey
from registry.trust.encoding import b64u, from_b64u

__all__ = ["ReceiverKeys", "Settlement", "read_answer"]

_BAD_RECEIPT = "bad_receipt"
_CHANGED = "receipt_changed"
#: Status of a line whose receipt does not hold: the receiver's door is at fault.
_BAD_GATEWAY = 502
_OK = 200


class Settlement:
    """The sender's books.

    Consistency: one transaction for each call that writes. Durability: as the database. Concurrency: any number of
    threads, one at a time for each lane; only the holder of the fence writes. Errors: as said.
    """

    def __init__(self, *, database: Database, keys: ReceiverKeys, may_sign: MaySign, clock: Clock) -> None:
        """Take the parts.

        Args:
            database: where envelopes are.
            keys: of the receivers.
            may_sign: lets this process write the log, or raises.
            clock: the time.
        """
        self._database = database
        self._keys = keys
        self._may_sign = may_sign
        self._clock = clock

    def unsent(self, stream: str) -> list[LaneState]:
        """Return the open lanes of a stream with envelopes that have no receipt."""
        with self._database.read() as connection:
            return SendingUnit(connection).lanes(stream, unsent=True)

    def state(self, lane: LaneName) -> LaneState | None:
        """Return where a lane stands."""
        with self._database.read() as connection:
            return SendingUnit(connection).lane(lane)

    def load(self, lane: LaneName, plan: Send, max_bytes: int) -> list[Outgoing]:
        """Return the envelopes of a plan, as many as fit into `max_bytes`; none when there is none from there on.

        Raises:
            UnavailableError: the first of them is not kept any more.
        """
        with self._database.read() as connection:
            found = SendingUnit(connection).batch(
                lane, (plan.epoch, plan.first - 1), limit=plan.count, max_bytes=max_bytes, epoch=plan.epoch
            )
        if found and found[0].seq != plan.first:
            raise UnavailableError(
                "federation.exchange_sending.pruned", field="seq", value=plan.first, stream=lane.stream
            )
        return found

    def body(self, sha256: bytes) -> bytes:
        """Return a detached body.

        Raises:
            UnavailableError: it is not kept any more.
        """
        with self._database.read() as connection:
            found = SendingUnit(connection).body(sha256)
        if found is None:
            raise UnavailableError("federation.exchange_sending.no_body", field="body", value=b64u(sha256))
        return found

    def chain(self, sha256: str) -> tuple[str, ...] | None:
        """Return a chain that went out, by its digest."""
        raw = from_b64u(sha256)
        if raw is None:
            return None
        with self._database.read() as connection:
            return ReceivedUnit(connection).chain(raw)

    def announcements(self, lane: LaneName, after: int) -> list[tuple[str, str]]:
        """Return the countersigned announcements (statement, consent) of the epochs behind `after`, in order."""
        with self._database.read() as connection:
            rows = ReceivedUnit(connection).epochs((lane.iss.key, lane.aud.key, lane.stream))
        return [(row.statement, row.countersigned) for row in rows if row.epoch > after and row.countersigned]

    def settle_older(self, rows: Sequence[Outgoing], lines: Sequence[Line]) -> None:
        """Store the receipts of envelopes of an epoch that is over; those that had one keep it.

        Raises:
            MalformedError, LimitError, UntrustedError: a receipt does not hold.
            ConflictError, UnavailableError: nothing was stored.
        """
        found = [
            Final(row.seq, read_answer(row, line.receipt or "", self._keys), again=False)
            for row, line in zip(rows, lines, strict=True)
            if row.receipt is None
        ]
        finals = [one for one in found if one.receipt.final]
        if not finals:
            return
        lane, epoch = rows[0].lane, rows[0].epoch
        with self._database.write() as connection:
            self._may_sign(connection)
            leaves = [leaf_of(lane, one.receipt, "ack") for one in finals]
            first = LogUnit(connection).append(leaves)
            acks = _acknowledgements(finals, first)
            SendingUnit(connection).acknowledge(lane, epoch, acks, int(self._clock.now()))

    def settle(
        self, lane: Lane, plan: Send, rows: Sequence[Outgoing], lines: Sequence[Line], now: float
    ) -> Result:
        """Verify the answers to a request and store what they come to.

        Args:
            lane: its memory is moved on; throw it away when this raises.
            plan: what was sent.
            rows: the envelopes sent, in order.
            lines: what came back, in order.
            now: monotonic seconds.

        Raises:
            ConflictError: another process has taken over.
            UnavailableError: the database does not answer; nothing was stored.
        """
        keys = _Remembered(self._keys)
        answers = [_answer(row, line, keys) for row, line in zip(rows, lines, strict=False)]
        result = lane.answered(plan, answers, now)
        failure = _failure(result, answers)
        if result.finals or lane.halted is not None:
            self._store(lane, rows, result, failure)
        elif failure is not None:
            self.note(LaneName(lane.iss, lane.aud, lane.stream), failure)
        return result

    def take(self, peer: Prefix, tokens: Sequence[str]) -> list[Line]:
        """Take receipts a peer brings for what it fetched; one line back for each.

        Final ones move their lane on, as far as they follow on one another; the others come again with the next poll.

        Args:
            peer: who brings them; it must have signed them.
            tokens: receipts, of any lanes that lead to it.

        Raises:
            ConflictError, UnavailableError: nothing was stored.
        """
        lines: list[Line] = [Line(_OK)] * len(tokens)
        read: dict[int, Receipt] = {}
        for place, token in enumerate(tokens):
            try:
                read[place] = wire.read(token)
            except HazlinkError as error:
                lines[place] = Line.refusal(HTTP_STATUS[error.kind], _BAD_RECEIPT, error)
        with self._database.read() as connection:
            rows = SendingUnit(connection).found([_raw(one.env) for one in read.values()])
        by_lane: dict[LaneName, list[tuple[Outgoing, Receipt]]] = {}
        for place, receipt in read.items():
            try:
                row = _addressed(rows.get(_raw(receipt.env)), peer)
                read_answer(row, receipt.token, self._keys)
            except HazlinkError as error:
                lines[place] = Line.refusal(HTTP_STATUS[error.kind], _BAD_RECEIPT, error)
            else:
                by_lane.setdefault(row.lane, []).append((row, receipt))
        for lane, found in sorted(by_lane.items()):
            self._fetched(lane, found)
        return lines

    def _fetched(self, lane: LaneName, found: Sequence[tuple[Outgoing, Receipt]]) -> None:
        """Store the receipts of one lane that was fetched."""
        now = int(self._clock.now())
        with self._database.write() as connection:
            self._may_sign(connection)
            unit = SendingUnit(connection)
            state = unit.lock_lanes([lane]).get(lane)
            if state is None:
                return
            fresh: list[Final] = []
            halted = failure = None
            for row, receipt in sorted(found, key=lambda pair: (pair[0].epoch, pair[0].seq)):
                if receipt.outcome == "equivocation":
                    halted = receipt.outcome
                elif not receipt.final:
                    failure = receipt.code
                elif row.epoch == state.epoch and row.seq == state.acked_seq + len(fresh) + 1:
                    fresh.append(Final(row.seq, receipt, again=False))
            if fresh:
                first = LogUnit(connection).append([leaf_of(lane, one.receipt, "ack") for one in fresh])
                unit.acknowledge(lane, state.epoch, _acknowledgements(fresh, first), now)
            unit.put_lane(_moved(state, fresh, failure, halted, now), new=False)

    def halt(self, lane: LaneName, reason: str) -> None:
        """Send nothing more on a lane until it is healed, or somebody looked at it.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._database.write() as connection:
            SendingUnit(connection).stop(lane, reason, int(self._clock.now()))

    def note(self, lane: LaneName, failure: str) -> None:
        """Remember why a lane does not get through; the first moment of the same failure stays.

        Raises:
            UnavailableError: the database does not answer.
        """
        known = self.state(lane)
        if known is not None and known.failure != failure:
            with self._database.write() as connection:
                SendingUnit(connection).note_failure(lane, failure, int(self._clock.now()))

    def _store(self, lane: Lane, rows: Sequence[Outgoing], result: Result, failure: str | None) -> None:
        now = int(self._clock.now())
        name = LaneName(lane.iss, lane.aud, lane.stream)
        by_seq = {row.seq: row for row in rows}
        with self._database.write() as connection:
            unit = SendingUnit(connection)
            self._may_sign(connection)
            state = unit.lock_lanes([name]).get(name)
            if state is None or state.epoch != lane.epoch:
                raise UnavailableError("federation.exchange_sending.epoch_changed", stream=name.stream)
            fresh = [final for final in result.finals if final.seq > state.acked_seq]
            if any(_changed(by_seq[final.seq], final) for final in result.finals):
                failure = _CHANGED
            if fresh:
                leaves = [leaf_of(name, final.receipt, "ack") for final in fresh]
                first = LogUnit(connection).append(leaves)
                unit.acknowledge(name, state.epoch, _acknowledgements(fresh, first), now)
            unit.put_lane(_moved(state, fresh, failure, lane.halted, now), new=False)


class _Remembered:
    """The keys of receivers for one batch: one signs nearly all of it, at one moment."""

    def __init__(self, keys: ReceiverKeys) -> None:
        self._keys = keys
        self._found: dict[tuple[Prefix, Prefix, str, float], PublicKey] = {}

    def key(self, iss: Prefix, aud: Prefix, kid: str, at: float) -> PublicKey:
        """Return a key as `ReceiverKeys.key` does."""
        name = (iss, aud, kid, at)
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._keys.key(iss, aud, kid, at)
        return found


def _answer(row: Outgoing, line: Line, keys: ReceiverKeys) -> Answer:
    if line.receipt is None:
        return Answer(line.status, code=line.code, retry_after=line.retry_after)
    try:
        receipt = read_answer(row, line.receipt, keys)
    except HazlinkError as error:
        return Answer(_BAD_GATEWAY, code=f"{_BAD_RECEIPT}:{error.code.rpartition('.')[2]}"[:64])
    return Answer(receipt.status, receipt=receipt)


def _addressed(row: Outgoing | None, peer: Prefix) -> Outgoing:
    """Return the envelope a receipt is about, if it was meant for this peer."""
    if row is None or row.lane.aud != peer:
        raise UntrustedError("federation.exchange_sending.other_envelope", field="receipt", value=peer.key)
    return row


def _acknowledgements(finals: Sequence[Final], first: int) -> list[Acknowledgement]:
    return [
        Acknowledgement(
            seq=final.seq,
            receipt=final.receipt.token.encode(),
            outcome=final.receipt.outcome,
            code=final.receipt.code,
            leaf_index=final.receipt.leaf_index,
            ack_index=first + place,
        )
        for place, final in enumerate(finals)
    ]


def _raw(digest: str) -> bytes:
    """Return the bytes of a digest that was read, so is one."""
    return from_b64u(digest) or b""


def _changed(row: Outgoing, final: Final) -> bool:
    return row.receipt is not None and row.receipt != final.receipt.token.encode()


def _moved(
    state: LaneState, fresh: Sequence[Final], failure: str | None, halted: str | None, now: int
) -> LaneState:
    """Return the lane after these receipts."""
    failed_at = None
    if failure is not None:
        failed_at = state.failed_at if state.failure == failure else now
    return replace(
        state,
        acked_seq=max(state.acked_seq, fresh[-1].seq if fresh else 0),
        state=state.state if halted is None else "stopped",
        failure=failure if halted is None else halted,
        failed_at=failed_at if halted is None else now,
        rejected=state.rejected + sum(final.receipt.outcome == "rejected" for final in fresh),
        acked_at=now if fresh else state.acked_at,
    )


def _failure(result: Result, answers: Sequence[Answer]) -> str | None:
    """Return why it did not go through to the end; None when it did."""
    for notice in result.notices:
        if notice.kind != "rejected":
            return f"{notice.kind}:{notice.code}"[:64]
    unfinished = answers[len(result.finals) : len(result.finals) + 1]
    for answer in unfinished:
        return answer.receipt.code if answer.receipt is not None else answer.code or str(answer.status)
    return None
