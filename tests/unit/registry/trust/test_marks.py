import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UntrustedError
from registry.trust.marks import Mark, MemoryMarks, advances

SEEN = st.builds(
    Mark,
    st.sampled_from(["88", "89"]),
    st.sampled_from(["88.1", "88.2"]),
    st.integers(1, 5),
    st.sampled_from("ab"),
)


def reason(act, *args):
    with pytest.raises(UntrustedError) as refused:
        act(*args)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


def test_a_mark_only_rises():
    marks = MemoryMarks()
    marks.raise_to("88", "88.1", 3, "a")
    marks.raise_to("88", "88.1", 3, "a")
    marks.raise_to("88", "88.1", 9, "b")
    marks.raise_to("88", "88.2", 1, "c")
    assert reason(marks.raise_to, "88", "88.1", 8, "a") == "rolled_back"
    assert reason(marks.raise_to, "88", "88.1", 9, "a") == "equivocation"
    assert reason(marks.raise_to, "0.NA", "88.1", 10, "a") == "two_superiors"
    marks.raise_to("88", "88.1", 9, "b")


def test_the_cure_forgets_what_one_issuer_said():
    marks = MemoryMarks()
    marks.raise_to("88", "88.1", 2**53 - 1, "a")
    marks.raise_to("0.NA", "88", 5, "a")
    marks.reset("88")
    marks.raise_to("88", "88.1", 2, "b")
    assert reason(marks.raise_to, "0.NA", "88", 4, "a") == "rolled_back"


@given(st.lists(SEEN, max_size=12))
def test_however_statements_arrive_a_prefix_never_goes_back(arrivals):
    marks = MemoryMarks()
    newest = {}
    for seen in arrivals:
        before = newest.get(seen.subject)
        try:
            marks.raise_to(seen.issuer, seen.subject, seen.ver, seen.sha256)
        except UntrustedError:
            assert before is not None
            continue
        if before is not None:
            assert seen.issuer == before.issuer
            assert seen.ver >= before.ver
            assert seen.ver > before.ver or seen.sha256 == before.sha256
        newest[seen.subject] = seen


def test_storing_is_needed_only_for_what_is_newer():
    known = Mark("88", "88.1", 2, "a")
    assert advances(None, known)
    assert advances(known, Mark("88", "88.1", 3, "b"))
    assert not advances(known, known)
