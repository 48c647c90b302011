from node.flow.capture.intake import Intake, Known, Verdict
from node.flow.capture.job import CaptureError, Fault

HERE, THERE = b"h" * 32, b"o" * 32


def knowing(*known):
    intake = Intake()
    intake.learn(known)
    return intake


def an_entry(number=1, key=HERE, event_id="e1", *, declares=False, other=0):
    return Known(number, key, declares, event_id, False, other)


def test_a_new_event_is_booked():
    decision = knowing().decide(HERE, "e1", declares=False)
    assert (decision.verdict, decision.fault) == (Verdict.BOOK, None)


def test_the_same_hash_is_the_same_event_whatever_its_id():
    for event_id in ("e1", "e2"):
        decision = knowing(an_entry()).decide(HERE, event_id, declares=False)
        assert (decision.verdict, decision.fault) == (Verdict.PASS, Fault.REPEATED)


def test_a_known_id_with_other_content_is_kept_and_not_booked():
    decision = knowing(an_entry()).decide(THERE, "e1", declares=False)
    assert (decision.verdict, decision.fault) == (Verdict.KEEP, Fault.SAME_ID)


def test_a_declaration_of_the_same_content_takes_its_event_back_once():
    decision = knowing(an_entry()).decide(HERE, "e1", declares=True)
    assert (decision.verdict, decision.target.number) == (Verdict.TAKE_BACK, 1)
    again = knowing(an_entry(), an_entry(2, declares=True)).decide(HERE, "e1", declares=True)
    assert (again.verdict, again.fault) == (Verdict.PASS, Fault.DECLARED_AGAIN)


def test_a_declaration_of_other_content_is_refused():
    decision = knowing(an_entry()).decide(THERE, "e1", declares=True)
    assert (decision.verdict, decision.fault) == (Verdict.PASS, Fault.DECLARED_OTHERWISE)


def test_a_declaration_ahead_of_its_event_waits_and_the_event_is_void_from_the_start():
    assert knowing().decide(HERE, "e1", declares=True).verdict is Verdict.HOLD
    late = knowing(an_entry(declares=True)).decide(HERE, "e1", declares=False)
    assert (late.verdict, late.target.number) == (Verdict.VOID, 1)


def test_an_event_whose_waiting_declaration_says_something_else_stands_and_is_noted():
    decision = knowing(an_entry(declares=True)).decide(THERE, "e1", declares=False)
    assert decision.verdict is Verdict.BOOK
    assert decision.declared_otherwise
    done = knowing(an_entry(declares=True, other=7)).decide(THERE, "e1", declares=False)
    assert not done.declared_otherwise


def test_every_fault_can_be_told_and_has_its_name_in_the_binding():
    for fault in Fault:
        error = CaptureError(3, "urn:e:1", fault, {"number": "7"})
        assert "3" in error.message("zh")
        assert "urn:e:1" in error.message("en")
        assert fault.exception in {"ResourceAlreadyExistsException", "ValidationException"}
