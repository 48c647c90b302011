"""The sender's side of one lane: what goes next, and what an answer means. No I/O, no clock, no memory but its own.

Rules (facts on federation, (b)):

- tokens of a lane go in order, one request at a time; what is final moves on, the first answer that is not ends
  the request;
- only a signed, verified receipt means anything for good; everything else (any status, no answer) means "again",
  and is never given up;
- `gap` says where to go on, `stale_chain` and `unknown_key` ask for the chain, `body_missing` for the body,
  `unknown_epoch` for the epoch's announcement, `position_needed` for the token alone;
- a receiver that knows a later number than the sender ever used shows that the sender's store is old: the lane
  halts until it is healed; so it does for good on `equivocation`;
- back-off: full jitter from 1 s, doubled up to 300 s, after whatever Retry-After says; progress starts it anew;
- a request takes at most the receiver's credit, half as much after 429, 503 or 413, twice as much after success.

One lane serves one task at a time; `now` is in seconds of `Clock.monotonic`.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus

from federation.exchange.plans import (
    Answer,
    Final,
    Halt,
    HaltReason,
    Idle,
    Need,
    Notice,
    Plan,
    Result,
    Send,
    Supply,
    Wait,
)
from federation.exchange.receipt import FINAL, Expected, Receipt
from federation.exchange.streams import MAX_BATCH
from registry.identifier import Prefix

__all__ = [
    "BACKOFF_BASE_SECONDS",
    "BACKOFF_CAP_SECONDS",
    "RETRY_AFTER_CAP_SECONDS",
    "Answer",
    "Final",
    "Halt",
    "Idle",
    "Lane",
    "Need",
    "Notice",
    "Plan",
    "Result",
    "Send",
    "Supply",
    "Wait",
]

BACKOFF_BASE_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 300.0
#: Nobody can silence a lane for longer than this.
RETRY_AFTER_CAP_SECONDS = 3600.0

_ENTROPY_BYTES = 7
_PRESSURE = frozenset({413, 429, 503})
_ALARMING = frozenset({400, 401, 403, 413})


class Lane:
    """One lane of this node: (iss, aud, stream).

    Args:
        iss: who sends.
        aud: who receives.
        stream: which stream.
        epoch: the sender's epoch.
        acked_seq: the last number in it that is final, with all before.
        entropy: gives so many random bytes.
        credit: as the receiver said when the session was opened.
        halted: why it stood still when the program stopped.
    """

    __slots__ = (
        "_alone",
        "_attempt",
        "_credit",
        "_entropy",
        "_moved_back",
        "_need",
        "_next",
        "_supplied",
        "_until",
        "_window",
        "acked_seq",
        "aud",
        "epoch",
        "halted",
        "iss",
        "last_seq",
        "stream",
    )

    def __init__(
        self,
        iss: Prefix,
        aud: Prefix,
        stream: str,
        *,
        epoch: int,
        acked_seq: int,
        entropy: Callable[[int], bytes],
        credit: int = MAX_BATCH,
        halted: HaltReason | None = None,
    ) -> None:
        self.iss = iss
        self.aud = aud
        self.stream = stream
        self.halted: HaltReason | None = halted
        self._entropy = entropy
        self._credit = self._window = _clamped(credit)
        self._start(epoch, acked_seq)

    def _start(self, epoch: int, acked_seq: int) -> None:
        self.epoch = epoch
        self.acked_seq = self.last_seq = acked_seq
        self._next = acked_seq + 1
        self._attempt = 0
        self._until: float | None = None
        self._need: Supply | None = None
        self._supplied: set[Need] = set()
        self._moved_back = False
        self._alone: int | None = None

    @property
    def next_seq(self) -> int:
        """The number that goes next; at or below `acked_seq` while a restored receiver is being filled again."""
        return self._next

    @property
    def window(self) -> int:
        """How many envelopes go into one request at present."""
        return self._window

    @property
    def attempt(self) -> int:
        """How often it failed since the last progress."""
        return self._attempt

    def resume(self, epoch: int, acked_seq: int) -> None:
        """Go on after healing, perhaps in a new epoch."""
        self.halted = None
        self._start(epoch, acked_seq)

    def granted(self, credit: int) -> None:
        """Take the credit a session was opened with."""
        self._credit = _clamped(credit)
        self._window = min(self._window, self._credit)

    def plan(self, last_seq: int, now: float) -> Plan:
        """Say what to do.

        Args:
            last_seq: the last number of the epoch that is sealed; 0: none.
            now: monotonic seconds.
        """
        self.last_seq = max(self.last_seq, last_seq)
        if self.halted is not None:
            return Halt(self.halted)
        if self._until is not None and now < self._until:
            return Wait(self._until - now)
        if self._need is not None:
            return self._need
        left = last_seq - self._next + 1
        if left <= 0:
            return Idle()
        if self._alone == self._next:
            return Send(self.epoch, self._next, 1, alone=True)
        return Send(self.epoch, self._next, min(left, self._window))

    def supplied(self) -> None:
        """What `Supply` asked for is there."""
        if self._need is not None:
            self._supplied.add(self._need.need)
            if self._need.need == "epoch":
                self._next = 1
            self._need = None

    def told(self, expected: Expected) -> tuple[Notice, ...]:
        """Take what the receiver said, unasked, that it waits for: its answer to a head. Between two requests.

        A receiver that was restored while nothing was under way is noticed by this alone.
        """
        notices: list[Notice] = []
        if self.halted is None and expected.epoch == self.epoch and expected.seq <= self.last_seq + 1:
            self._next = min(self._next, expected.seq)
        elif self.halted is None and expected.epoch < self.epoch:
            self._need = Supply("epoch", expected.epoch, expected.seq)
        elif self.halted is None:
            self._halt("behind", self._next, "head", notices)
        return tuple(notices)

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """Neither an answer nor what was needed: back off."""
        self._back_off(now, retry_after)

    def answered(self, sent: Send, answers: Sequence[Answer], now: float) -> Result:
        """Take the answers to a request, one for each token as far as they came.

        Args:
            sent: what was sent; `count` may be smaller than planned.
            answers: in order; fewer than `count` when the connection broke. A refusal of the whole request is
                one answer.
            now: monotonic seconds.
        """
        finals: list[Final] = []
        notices: list[Notice] = []
        if self.halted is not None or sent.epoch != self.epoch or sent.first != self._next:
            return Result((), ())
        for answer in answers[: sent.count]:
            if answer.receipt is None or answer.receipt.outcome not in FINAL:
                break
            finals.append(self._final(answer.receipt, notices))
        if finals:
            self._progress()
        if len(finals) < sent.count:
            rest = answers[len(finals) : sent.count]
            self._unfinished(rest, now, notices, moved=bool(finals))
        else:
            self._window = min(self._window * 2, self._credit)
        return Result(tuple(finals), tuple(notices))

    def _final(self, receipt: Receipt, notices: list[Notice]) -> Final:
        seq = self._next
        again = seq <= self.acked_seq
        self._next += 1
        self.acked_seq = max(self.acked_seq, seq)
        if receipt.outcome == "rejected" and not again:
            notices.append(Notice("rejected", seq, receipt.code))
        self._credit = _clamped(receipt.credit)
        self._window = min(self._window, self._credit)
        return Final(seq, receipt, again)

    def _progress(self) -> None:
        self._attempt = 0
        self._until = None
        self._supplied.clear()
        self._moved_back = False
        self._alone = None

    def _unfinished(
        self, answers: Sequence[Answer], now: float, notices: list[Notice], *, moved: bool
    ) -> None:
        """The first answer that is not final decides; an equivocation anywhere does before all."""
        for place, answer in enumerate(answers):
            if answer.receipt is not None and answer.receipt.outcome == "equivocation":
                self._halt("equivocation", self._next + place, "equivocation", notices)
                return
        if not answers:
            # cut off: after progress another try is fair at once
            if not moved:
                self._back_off(now, None)
            return
        first = answers[0]
        if first.receipt is None:
            self._unsigned(first, now, notices)
        else:
            self._signed(first.receipt, now, notices)

    def _signed(self, receipt: Receipt, now: float, notices: list[Notice]) -> None:
        if receipt.outcome == "misdirected":
            notices.append(Notice("route", self._next, receipt.code))
            self._back_off(now, None)
        elif receipt.code == "stale_chain":
            self._ask(self._about("chain"), now, notices, receipt.code)
        elif receipt.expected is None:
            self._back_off(now, None)
        else:
            self._expected(receipt.expected.epoch, receipt.expected.seq, receipt.code, now, notices)

    def _expected(self, epoch: int, seq: int, code: str, now: float, notices: list[Notice]) -> None:
        if epoch > self.epoch or (epoch == self.epoch and seq > self.last_seq + 1):
            self._halt("behind", self._next, code, notices)
        elif epoch < self.epoch:
            self._ask(Supply("epoch", epoch, seq), now, notices, code)
        elif seq < self._next and not self._moved_back:
            # once between two steps forward: a receiver that asks and never takes must not make us run in a circle
            self._next = seq
            self._moved_back = True
            self._alone = None
        else:
            self._next = min(self._next, seq)
            self._back_off(now, None)

    def _unsigned(self, answer: Answer, now: float, notices: list[Notice]) -> None:
        code = answer.code or str(answer.status)
        if answer.code == "position_needed" and self._alone != self._next:
            self._alone = self._next
            return
        if answer.code == "body_missing":
            self._ask(self._about("body"), now, notices, code)
            return
        if answer.code == "unknown_key":
            self._ask(self._about("chain"), now, notices, code)
            return
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._ask(self._about("session"), now, notices, code)
            return
        if answer.status in _ALARMING:
            notices.append(Notice("refused", self._next, code))
        if answer.status in _PRESSURE:
            self._window = max(1, self._window // 2)
        self._back_off(now, answer.retry_after)

    def _about(self, need: Need) -> Supply:
        return Supply(need, self.epoch, self._next)

    def _ask(self, need: Supply, now: float, notices: list[Notice], code: str) -> None:
        self._need = need
        if need.need in self._supplied:
            # it was given and did not help; after a while it is given again
            notices.append(Notice("refused", self._next, code))
            self._back_off(now, None)

    def _halt(self, reason: HaltReason, seq: int, code: str, notices: list[Notice]) -> None:
        self.halted = reason
        notices.append(Notice(reason, seq, code))

    def _back_off(self, now: float, retry_after: float | None) -> None:
        most = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(self._attempt, 16))
        self._attempt += 1
        share = int.from_bytes(self._entropy(_ENTROPY_BYTES), "big") / (1 << 8 * _ENTROPY_BYTES)
        asked = min(max(retry_after or 0.0, 0.0), RETRY_AFTER_CAP_SECONDS)
        self._until = now + asked + share * most


def _clamped(credit: int) -> int:
    return max(1, min(credit, MAX_BATCH))
