import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.envelope import Position
from federation.exchange.lane import (
    BACKOFF_CAP_SECONDS,
    RETRY_AFTER_CAP_SECONDS,
    Answer,
    Final,
    Halt,
    Idle,
    Lane,
    Notice,
    Send,
    Supply,
    Wait,
)
from federation.exchange.receipt import Expected
from federation.exchange.streams import MAX_BATCH
from tests.support.exchange_wire import PARK, WORKS, a_receipt, lane_of, sealed

MANY = lane_of(8)


def a_lane(*, share=1.0, acked=0, epoch=1, **other):
    """A lane whose jitter is always this share of the most it can be."""
    raw = min(int(share * (1 << 56)), (1 << 56) - 1).to_bytes(7, "big")
    return Lane(
        WORKS, PARK, "register", epoch=epoch, acked_seq=acked, entropy=lambda count: raw[:count], **other
    )


def signed(seq, code="ok", **other):
    made = a_receipt(MANY[seq - 1], code, **other)
    return Answer(made.status, made)


def said(status, code=None, retry_after=None):
    return Answer(status, None, code, retry_after)


def ask(lane, answers, last=8, now=0.0):
    """Let it send, and answer."""
    plan = lane.plan(last, now)
    assert isinstance(plan, Send)
    return lane.answered(plan, answers, now)


def test_everything_that_waits_goes_in_one_request_and_then_it_is_idle():
    lane = a_lane()
    assert lane.plan(8, 0.0) == Send(1, 1, 8)
    result = lane.answered(Send(1, 1, 8), [signed(seq) for seq in range(1, 9)], 0.0)
    assert [(one.seq, one.again) for one in result.finals] == [(seq, False) for seq in range(1, 9)]
    assert result.notices == ()
    assert (lane.acked_seq, lane.next_seq) == (8, 9)
    assert lane.plan(8, 0.0) == Idle()
    assert lane.plan(9, 0.0) == Send(1, 9, 1)


@pytest.mark.parametrize(
    "code", ["bad_json", "bad_schema", "forbidden_prefix", "forbidden_op", "bad_prev", "business"]
)
def test_a_final_rejection_uses_up_its_number_and_becomes_a_task(code):
    lane = a_lane()
    result = ask(lane, [signed(1), signed(2, code), signed(3)], last=3)
    assert [one.seq for one in result.finals] == [1, 2, 3]
    assert result.notices == (Notice("rejected", 2, code),)
    assert lane.plan(3, 0.0) == Idle()


@pytest.mark.parametrize("code", ["unknown_type", "unknown_schema"])
def test_what_is_kept_unapplied_is_done(code):
    lane = a_lane()
    assert ask(lane, [signed(1, code)], last=1).notices == ()
    assert lane.plan(1, 0.0) == Idle()


@pytest.mark.parametrize("answers", [(), [said(500)], [said(0)], [said(404, "x")], [said(200)], [said(418)]])
def test_no_receipt_means_again_for_ever(answers):
    lane = a_lane()
    now = 0.0
    for _ in range(40):
        assert ask(lane, answers, now=now).finals == ()
        plan = lane.plan(8, now)
        assert isinstance(plan, Wait)
        now += plan.seconds
    assert isinstance(lane.plan(8, now), Send)
    assert lane.acked_seq == 0


def test_the_waits_double_up_to_five_minutes_and_progress_starts_anew():
    lane = a_lane()
    waits, now = [], 0.0
    for _ in range(12):
        ask(lane, [said(500)], now=now)
        waits.append(round(lane.plan(8, now).seconds))
        now += waits[-1] + 1
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    ask(lane, [signed(1), said(500)], now=now)
    assert round(lane.plan(8, now).seconds) == 1
    assert lane.attempt == 1


@given(share=st.floats(0, 1), tries=st.integers(1, 30), retry=st.none() | st.floats(-5, 10_000))
def test_a_wait_is_never_before_retry_after_and_never_beyond_the_caps(share, tries, retry):
    lane = a_lane(share=share)
    now = 0.0
    for _ in range(tries):
        ask(lane, [said(503, "busy", retry)], now=now)
        plan = lane.plan(8, now)
        waited = plan.seconds if isinstance(plan, Wait) else 0.0
        asked = min(max(retry or 0.0, 0.0), RETRY_AFTER_CAP_SECONDS)
        assert asked - 1e-6 <= waited <= asked + BACKOFF_CAP_SECONDS + 1e-6
        now += waited + 1e-6


@pytest.mark.parametrize("status", [429, 503, 413])
def test_pressure_halves_the_request_and_success_doubles_it_again(status):
    lane = a_lane(share=0, credit=8)
    sizes = []
    for answers in ([said(status)], [said(status)], None, None):
        plan = lane.plan(1000, 0.0)
        sizes.append(plan.count)
        lane.answered(plan, answers or [Answer(200, a_receipt(MANY[0], credit=8))] * plan.count, 0.0)
    assert (*sizes, lane.plan(1000, 0.0).count) == (8, 4, 2, 4, 8)


def test_a_request_never_exceeds_the_credit():
    lane = a_lane(credit=3)
    assert lane.plan(1000, 0.0).count == 3
    lane.granted(5)
    assert lane.plan(1000, 0.0).count == 3
    lane.answered(Send(1, 1, 3), [signed(seq, credit=2) for seq in (1, 2, 3)], 0.0)
    assert lane.plan(1000, 0.0).count == 2
    assert a_lane(credit=10**6).plan(1000, 0.0).count == MAX_BATCH
    assert a_lane(credit=0).plan(1000, 0.0).count == 1


@pytest.mark.parametrize("status", [400, 403, 413])
def test_a_refusal_of_ours_is_an_alarm_and_never_given_up(status):
    lane = a_lane()
    assert ask(lane, [said(status, "why")]).notices == (Notice("refused", 1, "why"),)
    assert isinstance(lane.plan(8, 0.0), Wait)
    assert isinstance(lane.plan(8, 2.0), Send)


def test_fault_11_an_answer_cut_off_keeps_what_came_and_goes_on_behind_it():
    lane = a_lane()
    assert len(ask(lane, [signed(1), signed(2)]).finals) == 2
    assert lane.plan(8, 0.0) == Send(1, 3, 6)


def test_what_stands_behind_the_first_unfinished_answer_is_not_believed():
    lane = a_lane()
    assert len(ask(lane, [signed(1), said(503), signed(3)]).finals) == 1
    assert lane.next_seq == 2


def test_fault_15_a_receiver_that_was_restored_is_filled_again_from_where_it_stands():
    lane = a_lane(acked=6)
    assert ask(lane, [signed(7, "gap", expected=Expected(1, 3))]).finals == ()
    assert lane.plan(8, 0.0) == Send(1, 3, 6)
    result = ask(lane, [signed(seq) for seq in range(3, 9)])
    assert [(one.seq, one.again) for one in result.finals] == [(3, True), (4, True), (5, True), (6, True), (7, False), (8, False)]  # fmt: skip
    assert isinstance(result.finals[0], Final)
    assert lane.plan(8, 0.0) == Idle()


def test_a_receiver_that_asks_back_and_takes_nothing_does_not_make_it_run():
    lane = a_lane(acked=6)
    ask(lane, [signed(7, "gap", expected=Expected(1, 3))])
    ask(lane, [signed(3, "gap", expected=Expected(1, 2))])
    assert isinstance(lane.plan(8, 0.0), Wait)
    assert lane.plan(8, 2.0) == Send(1, 2, 7)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("gap", Expected(1, 10)), ("gap", Expected(2, 1)), ("unknown_epoch", Expected(2, 5))],
)
def test_fault_14_a_receiver_that_knows_more_shows_that_our_store_is_old(code, expected):
    lane = a_lane()
    result = ask(lane, [signed(1, code, expected=expected)])
    assert result.notices == (Notice("behind", 1, code),)
    assert lane.plan(8, 9.0) == Halt("behind")
    lane.resume(2, 0)
    assert lane.plan(3, 9.0) == Send(2, 1, 3)


def test_a_gap_that_makes_no_sense_is_only_a_reason_to_wait():
    lane = a_lane()
    ask(lane, [signed(1, "gap", expected=Expected(1, 1))])
    assert isinstance(lane.plan(8, 0.0), Wait)
    assert lane.plan(8, 2.0) == Send(1, 1, 8)


def test_an_epoch_the_receiver_has_not_heard_of_is_announced_and_begun():
    lane = a_lane(epoch=2, acked=3)
    ask(lane, [signed(4, "unknown_epoch", expected=Expected(1, 77))])
    assert lane.plan(8, 0.0) == Supply("epoch", 1, 77)
    lane.supplied()
    assert lane.plan(8, 0.0) == Send(2, 1, 8)


def test_fault_15_a_head_tells_an_idle_lane_that_its_receiver_was_restored():
    lane = a_lane(acked=8)
    assert lane.plan(8, 0.0) == Idle()
    assert lane.told(Expected(1, 9)) == ()
    assert lane.plan(8, 0.0) == Idle()
    assert lane.told(Expected(1, 5)) == ()
    assert lane.plan(8, 0.0) == Send(1, 5, 4)


def test_a_head_tells_a_lane_that_its_epoch_is_unknown_or_its_own_store_is_old():
    lane = a_lane(epoch=2, acked=3)
    assert lane.told(Expected(1, 40)) == ()
    assert lane.plan(3, 0.0) == Supply("epoch", 1, 40)
    for expected in (Expected(2, 5), Expected(3, 1)):
        lane = a_lane(epoch=2, acked=3)
        assert lane.told(expected) == (Notice("behind", 4, "head"),)
        assert lane.plan(3, 0.0) == Halt("behind")
        assert lane.told(Expected(1, 1)) == ()


def test_fault_10_an_equivocation_stops_the_lane_for_good():
    lane = a_lane()
    result = ask(lane, [signed(1), said(503), signed(3, "equivocation")])
    assert len(result.finals) == 1
    assert result.notices == (Notice("equivocation", 3, "equivocation"),)
    assert lane.plan(8, 1e9) == Halt("equivocation")
    assert lane.answered(Send(1, 2, 1), [signed(2)], 0.0).finals == ()
    assert a_lane(halted="equivocation").plan(8, 0.0) == Halt("equivocation")


@pytest.mark.parametrize("code", ["wrong_aud", "wrong_iss"])
def test_fault_07_what_is_misdirected_uses_up_nothing_and_alarms(code):
    lane = a_lane()
    assert ask(lane, [signed(1, code)]).notices == (Notice("route", 1, code),)
    assert lane.plan(8, 5.0) == Send(1, 1, 8)


NEEDS = [
    (lambda: signed(1, "stale_chain"), "chain"),
    (lambda: said(401, "unknown_key"), "chain"),
    (lambda: said(401, "session"), "session"),
    (lambda: said(424, "body_missing"), "body"),
]


@pytest.mark.parametrize(("answer", "need"), NEEDS)
def test_what_the_receiver_lacks_is_given_and_then_it_goes_on(answer, need):
    lane = a_lane()
    assert ask(lane, [answer()]).notices == ()
    assert lane.plan(8, 0.0) == Supply(need, 1, 1)
    lane.supplied()
    assert lane.plan(8, 0.0) == Send(1, 1, 8)


@pytest.mark.parametrize(("answer", "need"), NEEDS)
def test_what_was_given_and_did_not_help_is_an_alarm_and_is_given_again_later(answer, need):
    lane = a_lane()
    now = 0.0
    for turn in range(6):
        notices = ask(lane, [answer()], now=now).notices
        assert bool(notices) == (turn > 0)
        plan = lane.plan(8, now)
        if isinstance(plan, Wait):
            now += plan.seconds
        assert lane.plan(8, now) == Supply(need, 1, 1)
        lane.supplied()


def test_what_nobody_asked_for_changes_nothing():
    lane = a_lane()
    lane.supplied()
    assert lane.plan(8, 0.0) == Send(1, 1, 8)


def test_what_cannot_be_given_now_is_given_later():
    lane = a_lane()
    ask(lane, [said(424, "body_missing")])
    lane.failed(0.0, retry_after=30)
    assert lane.plan(8, 0.0) == Wait(pytest.approx(31.0))
    assert lane.plan(8, 32.0) == Supply("body", 1, 1)


def test_a_session_that_ended_is_opened_again_after_every_failure():
    lane = a_lane()
    ask(lane, [said(401, "session")])
    lane.supplied()
    lane.answered(Send(1, 1, 8), (), 0.0)
    ask(lane, [said(401, "session")], now=10.0)
    assert lane.plan(8, 20.0) == Supply("session", 1, 1)


def test_fault_17_a_token_without_a_readable_number_goes_alone_to_its_url():
    lane = a_lane()
    ask(lane, [signed(1), said(400, "position_needed")])
    assert lane.plan(8, 0.0) == Send(1, 2, 1, alone=True)
    ask(lane, [signed(2, "bad_json")])
    assert lane.plan(8, 0.0) == Send(1, 3, 6)


def test_a_token_that_is_refused_alone_as_well_is_an_alarm():
    lane = a_lane()
    ask(lane, [said(400, "position_needed")])
    result = ask(lane, [said(400, "position_needed")])
    assert result.notices == (Notice("refused", 1, "position_needed"),)
    assert isinstance(lane.plan(8, 0.0), Wait)


def test_an_answer_to_a_request_of_the_past_changes_nothing():
    lane = a_lane()
    ask(lane, [signed(1)])
    before = lane.plan(8, 0.0)
    assert lane.answered(Send(1, 1, 1), [signed(1)], 0.0).finals == ()
    assert lane.answered(Send(2, 2, 1), [signed(1)], 0.0).finals == ()
    assert lane.plan(8, 0.0) == before


def test_more_answers_than_tokens_are_passed_over():
    lane = a_lane()
    assert len(lane.answered(Send(1, 1, 1), [signed(1), signed(2)], 0.0).finals) == 1


ANYTHING = st.one_of(
    st.builds(said, st.integers(0, 599), st.sampled_from([None, "position_needed", "body_missing", "unknown_key"]),
              st.none() | st.floats(0, 100)),
    st.sampled_from([signed(1, code) for code in ("ok", "unknown_type", "bad_json", "business", "stale_chain", "wrong_aud")]),
    st.builds(lambda seq: signed(1, "gap", expected=Expected(1, seq)), st.integers(1, 8)),
)  # fmt: skip


@given(st.lists(st.lists(ANYTHING, max_size=4), max_size=25))
def test_whatever_is_answered_numbers_go_up_one_by_one_and_it_never_gives_up(rounds):
    lane = a_lane(share=0.5, credit=4)
    now, done = 0.0, 0
    for answers in rounds:
        plan = lane.plan(50, now)
        if isinstance(plan, Wait):
            now += plan.seconds
            plan = lane.plan(50, now)
        if isinstance(plan, Supply):
            lane.supplied()
            plan = lane.plan(50, now)
        assert isinstance(plan, Send)
        assert 1 <= plan.first <= lane.acked_seq + 1
        assert plan.first + plan.count <= 51
        for one in lane.answered(plan, answers, now).finals:
            assert one.again == (one.seq <= done)
            assert one.seq <= done + 1
            done = max(done, one.seq)
        assert lane.acked_seq == done
    assert lane.halted is None


def test_positions_and_lanes_agree_on_where_it_begins():
    one = sealed()
    assert one.position == Position(1, 1, one.prev)
    assert a_lane().plan(1, 0.0) == Send(1, one.seq, 1)
