import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.globs import Glob
from registry.identifier import fold

letters = st.text("aB*?%_\\.硫\n", max_size=12)


def by_expression(pattern, text):
    """The same by a regular expression: slow on purpose-made patterns, right on short ones."""
    made = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in fold(pattern))
    return re.fullmatch(made, fold(text), re.DOTALL) is not None


@given(letters, letters)
@example("*a*a", "a")
@example("a*?", "a")
@example("*??*", "a")
@example("a**b", "ab")
@example("*ab*b", "ab")
@example("", "")
def test_a_glob_matches_what_its_meaning_says(pattern, text):
    assert Glob(pattern).matches(fold(text)) is by_expression(pattern, text)


@pytest.mark.parametrize("pattern", ["*a*a*a*a*b", "*a*a*a*a*a*a*a*a*b*c", "*?a?*?a?*?a?*b"])
def test_no_pattern_takes_for_ever(pattern):
    began = time.perf_counter()
    assert not Glob(pattern).matches("A" * 65_536)
    assert time.perf_counter() - began < 1


def test_a_like_pattern_escapes_what_like_reads_as_special():
    assert Glob("100%*_\\?").like == "100\\%%\\_\\\\_"
    assert Glob("a***b").like == "A%B"


def test_the_literal_beginning_is_folded_and_ends_at_the_first_special_character():
    assert [Glob(p).literal for p in ("ab*c", "a?c", "*a", "硫酸*", "plain")] == [
        "AB",
        "A",
        "",
        "硫酸",
        "PLAIN",
    ]


@given(st.text(max_size=6), st.text(max_size=6))
@example("\ud7ff", "x")
@example("a\U0010ffff", "\U0010ffff")
@example("\U0010ffff", "x")
def test_everything_that_begins_so_lies_between_the_literal_and_beyond(begin, more):
    glob = Glob(begin.replace("*", "").replace("?", "") + "*")
    beyond = glob.beyond(255)
    text = glob.literal + fold(more)
    assert glob.literal.encode("utf-8", "surrogatepass") <= text.encode("utf-8", "surrogatepass")
    if beyond is None:
        assert set(glob.literal) <= {"\U0010ffff"}
    else:
        assert text.encode("utf-8", "surrogatepass") < beyond.encode()
