"""The whole way of a lane as a state machine: real seals, checks and receipts over an adversary's network.

What is modelled plainly here belongs to other rooms: the two databases, the marks outside them, and healing.
"""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from federation.exchange import epoch as epochs
from federation.exchange import receipt as receipts
from federation.exchange.checks import Inspection
from federation.exchange.decisions import Accept, Duplicate, Hold, Known, Refuse, Reject
from federation.exchange.envelope import Envelope, Position, seal, uuid7
from federation.exchange.lane import Answer, Halt, Lane, Send, Supply, Wait
from registry.trust.chain import VerifiedChain
from registry.trust.statement import StatementKey
from tests.support.exchange_wire import PARK, WORKS, SomeHandlers, a_draft, entropy
from tests.support.trust import DAY, NOW, a_chain, a_signer

STREAM = "register"
RECEIVER = a_signer("88.107")
HANDLERS = SomeHandlers()


def generation(count: int) -> VerifiedChain:
    """The chain of the works after `count` rotations: all keys so far, the newest first."""
    keys = tuple(StatementKey.of(a_signer(f"works {one}"), nbf=NOW - DAY) for one in range(count, -1, -1))
    changed = {"88.107.1001": {"keys": keys, "ver": count + 1}}
    return a_chain("88", "88.107", "88.107.1001", changed=changed).verified()


CHAINS = [generation(count) for count in range(4)]
BY_NAME = {chain.sha256: chain for chain in CHAINS}


@dataclass
class Outbox:
    """The sender's database."""

    epoch: int = 1
    drafts: int = 0  # drafts there are; the number of a draft is its content
    waiting: list[int] = field(default_factory=list)
    out: dict[tuple[int, int], tuple[Envelope, int]] = field(default_factory=dict)
    next: Position = field(default_factory=lambda: epochs.first_position(WORKS, PARK, STREAM))
    acked: int = 0
    receipts: dict[tuple[int, int], str] = field(default_factory=dict)
    generation: int = 0

    @property
    def last(self) -> int:
        return self.next.seq - 1

    def copy(self) -> "Outbox":
        return replace(self, waiting=list(self.waiting), out=dict(self.out), receipts=dict(self.receipts))


@dataclass
class Inbox:
    """The receiver's database."""

    due: Position = field(default_factory=lambda: epochs.first_position(WORKS, PARK, STREAM))
    rows: dict[tuple[int, int], tuple[Known, Envelope]] = field(default_factory=dict)
    effects: list[int] = field(default_factory=list)
    chain: VerifiedChain = CHAINS[0]
    names: set[str] = field(default_factory=lambda: {CHAINS[0].sha256})

    def copy(self) -> "Inbox":
        return replace(self, rows=dict(self.rows), effects=list(self.effects), names=set(self.names))


class Exchange(RuleBasedStateMachine):
    """A sender and a receiver that crash, forget, and are restored from old backups."""

    @initialize()
    def begin(self):
        self.outbox, self.inbox = Outbox(), Inbox()
        self.backup_out, self.backup_in = self.outbox.copy(), self.inbox.copy()
        self.mark = (1, 0)  # outside the sender's database: epoch and last number ever signed
        self.drafts_made = 0
        self.hash_at = {}  # (epoch, seq) -> hash, for ever
        self.leaves = {}  # the receiver's leaves as its witness keeps them: env -> (index, received_at)
        self.wire = []  # everything that was ever sent
        self.statements = {}  # epoch -> announcement
        self.now = 0.0
        self.start_lane()

    def start_lane(self):
        self.lane = Lane(
            WORKS,
            PARK,
            STREAM,
            epoch=self.outbox.epoch,
            acked_seq=self.outbox.acked,
            entropy=entropy,
            credit=4,
        )

    # the sender

    @rule(count=st.integers(1, 3), sealed=st.booleans())
    def business(self, count, sealed=True):
        for _ in range(count):
            self.drafts_made += 1
            self.outbox.waiting.append(self.drafts_made)
        if sealed:
            self.seal()

    def seal(self):
        box = self.outbox
        chain = CHAINS[box.generation]
        for number in box.waiting:
            where = box.next
            self.mark = (where.epoch, where.seq)
            made = seal(
                a_signer(f"works {box.generation}"), a_draft(body={"entries": [{"identifier": f"88.107.1001/{number}"}]}),
                # the name of a draft is its own, however often it is sealed
                where, chain=chain.sha256, jti=uuid7(number, entropy), iat=NOW,
            )  # fmt: skip
            assert self.hash_at.setdefault((where.epoch, where.seq), made.env) == made.env, (
                "a number used twice"
            )
            box.out[where.epoch, where.seq] = (made, number)
            box.next = where.after(made.env)
        box.waiting = []

    @precondition(lambda self: self.outbox.generation + 1 < len(CHAINS))
    @rule()
    def rotate(self):
        self.outbox.generation += 1

    @rule()
    def crash_of_the_sender(self):
        self.start_lane()

    @rule(
        answered=st.lists(st.booleans(), min_size=4, max_size=4),
        arrives=st.lists(st.booleans(), min_size=4, max_size=4),
    )
    def exchange(self, answered, arrives):
        plan = self.lane.plan(self.outbox.last, self.now)
        if isinstance(plan, Wait):
            self.now += plan.seconds
        elif isinstance(plan, Supply):
            if answered[0]:
                self.supply(plan)
                self.lane.supplied()
            else:
                self.lane.failed(self.now)
        elif isinstance(plan, Send):
            self.send(plan, answered, arrives)
        elif isinstance(plan, Halt):
            assert plan.reason == "behind"

    def send(self, plan, answered, arrives):
        sent = [self.outbox.out[plan.epoch, plan.first + place][0] for place in range(plan.count)]
        self.wire += sent
        lines = [self.deliver(one) if good else Answer(0) for one, good in zip(sent, arrives, strict=False)]
        kept = answered.index(False) if False in answered else len(lines)
        result = self.lane.answered(plan, lines[:kept], self.now)
        for one in result.finals:
            receipts.verify(one.receipt, CHAINS[0].statements[1].keys[0].public)
            receipts.require_answer(one.receipt, self.outbox.out[plan.epoch, one.seq][0])
            known = self.outbox.receipts.setdefault((plan.epoch, one.seq), one.receipt.token)
            assert known == one.receipt.token, "a receipt changed"
        self.outbox.acked = self.lane.acked_seq
        assert all(notice.kind in {"refused", "behind"} for notice in result.notices)

    def supply(self, plan):
        if plan.need == "chain":
            named = self.outbox.out[plan.epoch, plan.seq][0].chain
            self.inbox.names |= {named, CHAINS[self.outbox.generation].sha256}
            newest = max(
                self.inbox.chain, CHAINS[self.outbox.generation], BY_NAME[named], key=lambda one: one.leaf.ver
            )
            self.inbox.chain = newest
        elif plan.need == "epoch":
            for epoch in range(plan.epoch, self.outbox.epoch + 1):
                if epoch > plan.epoch:
                    self.open_epoch(epochs.read(self.statements[epoch]))
                for place in sorted(
                    place for place in self.outbox.out if place[0] == epoch < self.outbox.epoch
                ):
                    if place >= (plan.epoch, plan.seq):
                        self.supply(Supply("chain", *place))
                        self.deliver(self.outbox.out[place][0])

    @rule()
    def head(self):
        self.lane.plan(self.outbox.last, self.now)
        self.lane.told(receipts.Expected(self.inbox.due.epoch, self.inbox.due.seq))

    # the network

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def a_token_comes_late_or_again(self, data):
        self.deliver(data.draw(st.sampled_from(self.wire)))

    # the receiver

    def deliver(self, envelope):
        """One token through the receiver's order, in one transaction that is durable before it answers."""
        box = self.inbox
        one = Inspection(envelope.token.encode(), peer=WORKS, stream=STREAM, receiver=PARK, mine=PARK.__eq__)
        assert one.unseal() is None
        known = next((row for row, _ in box.rows.values() if row.env == one.env), None)
        decision = one.recall(known) or one.authenticate(
            box.chain, now=NOW, named=one.envelope.chain in box.names
        )
        if decision is None:
            one.content(HANDLERS)
            row = box.rows.get(one.place)
            decision = one.settle(box.due, row[0] if row else None)
        return self.answer(one, decision)

    def answer(self, one, decision):
        if isinstance(decision, Refuse):
            assert decision.code == "unknown_key"
            return Answer(decision.status, None, decision.code)
        if isinstance(decision, Duplicate):
            return Answer(200, receipts.read(decision.known.receipt))
        if isinstance(decision, Hold):
            assert decision.code in {"gap", "unknown_epoch", "stale_chain"}
            return Answer(
                decision.status, self.receipt(one.envelope, decision.code, expected=decision.expected)
            )
        assert isinstance(decision, Accept), decision
        assert not isinstance(decision, Reject)
        index, at = self.leaves.setdefault(one.env, (len(self.leaves), NOW + len(self.leaves)))
        made = self.receipt(one.envelope, decision.code, received_at=at, leaf_index=index, leaf=one.env)
        self.inbox.rows[one.place] = (Known(WORKS, one.env, made.token, "ok"), one.envelope)
        self.inbox.effects.append(int(decision.body["entries"][0]["identifier"].partition("/")[2]))
        self.inbox.due = decision.position.after(one.env)
        return Answer(200, made)

    def receipt(self, envelope, code, *, received_at=NOW, **other):
        return receipts.read(
            receipts.issue(
                RECEIVER, iss=PARK, aud=WORKS, env=envelope.env, stream=STREAM, epoch=envelope.epoch, seq=envelope.seq,
                code=code, received_at=received_at, credit=4, **other,
            )
        )  # fmt: skip

    def open_epoch(self, statement):
        if statement.epoch > self.inbox.due.epoch:
            self.inbox.due = statement.start

    # backups

    @rule()
    def backup_of_the_sender(self):
        self.backup_out = self.outbox.copy()

    @rule()
    def backup_of_the_receiver(self):
        self.backup_in = self.inbox.copy()

    @precondition(lambda self: self.inbox.due != self.backup_in.due)
    @rule()
    def restore_of_the_receiver(self):
        self.inbox = self.backup_in.copy()
        # its connections are gone with it: what was under way to it cannot come any more
        self.wire = []

    @precondition(lambda self: self.mark != (self.backup_out.epoch, self.backup_out.last))
    @rule()
    def restore_of_the_sender(self):
        self.outbox = self.backup_out.copy()
        self.heal()
        self.start_lane()

    def heal(self):
        """Pull back what the receiver holds; where something signed stays lost, close the epoch there first."""
        box = self.outbox
        if self.mark == (box.epoch, box.last):
            return
        self.pull()
        if self.mark == (box.epoch, box.last):
            return
        token = epochs.issue(
            a_signer(f"works {box.generation}"), iss=WORKS, aud=PARK, stream=STREAM, old_epoch=box.epoch,
            last_seq_known=box.last, epoch=self.mark[0] + 1, reason="store_lost", iat=NOW,
        )  # fmt: skip
        statement = epochs.read(token)
        self.statements[statement.epoch] = token
        self.open_epoch(statement)
        self.pull()
        held = {envelope.jti for _, envelope in self.inbox.rows.values()}
        names = {row.env for row, _ in self.inbox.rows.values()}
        lost = [number for _, (made, number) in sorted(box.out.items()) if made.jti not in held]
        box.out = {place: row for place, row in box.out.items() if row[0].env in names}
        box.waiting = lost + box.waiting
        box.epoch, box.next, box.acked = statement.epoch, statement.start, 0
        self.mark = (box.epoch, 0)

    def pull(self):
        box = self.outbox
        for place, (_, envelope) in sorted(self.inbox.rows.items()):
            number = int(envelope.body["entries"][0]["identifier"].partition("/")[2])
            box.waiting = [one for one in box.waiting if one != number]
            box.out[place] = (envelope, number)
            if place[0] == box.epoch and place[1] >= box.next.seq:
                box.next = envelope.position.after(envelope.env)

    # what must hold

    @invariant()
    def each_number_is_held_once_in_order_and_linked(self):
        if not hasattr(self, "inbox"):
            return
        rows = [(place, row[1]) for place, row in self.inbox.rows.items()]
        for place, envelope in rows:
            assert self.hash_at[place] == envelope.env
        for (epoch, seq), envelope in rows:
            if seq > 1:
                assert self.inbox.rows[epoch, seq - 1][0].env == envelope.prev

    @invariant()
    def every_effect_happened_once(self):
        if hasattr(self, "inbox"):
            assert len(set(self.inbox.effects)) == len(self.inbox.effects) == len(self.inbox.rows)

    def teardown(self):
        """The network holds: everything the sender has arrives, in the order of the sender."""
        if not hasattr(self, "inbox"):
            return
        self.seal()
        for _ in range(400):
            self.head()
            if isinstance(self.lane.plan(self.outbox.last, self.now), Halt):
                self.heal()
                self.start_lane()
            self.exchange([True] * 4, [True] * 4)
            if (
                self.outbox.acked == self.outbox.last
                and self.inbox.due == self.outbox.next
                and not self.outbox.waiting
            ):
                break
            self.seal()
        assert {place: row.env for place, (row, _) in self.inbox.rows.items()} == {
            place: made.env for place, (made, _) in self.outbox.out.items()
        }
        assert sorted(self.inbox.effects) == sorted(number for _, number in self.outbox.out.values())
        self.each_number_is_held_once_in_order_and_linked()
        self.every_effect_happened_once()


def test_fault_14_what_a_restored_sender_forgot_and_what_comes_late_happens_once():
    one = Exchange()
    one.begin()
    nothing = [False] * 4
    one.business(1)
    one.exchange(nothing, nothing)
    one.backup_of_the_sender()
    one.business(1)
    one.restore_of_the_sender()
    assert one.outbox.epoch == 2
    one.deliver(one.wire[0])
    assert one.inbox.effects == []
    one.teardown()
    assert one.inbox.effects == [1]


def test_fault_26_what_is_accepted_is_what_was_sent_in_order_and_one_hash_for_each_number():
    run_state_machine_as_test(
        Exchange, settings=settings(max_examples=100, stateful_step_count=50, deadline=None)
    )


@pytest.mark.slow
def test_fault_26_the_same_for_longer():
    run_state_machine_as_test(
        Exchange, settings=settings(max_examples=600, stateful_step_count=80, deadline=None)
    )
