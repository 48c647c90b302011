"""base64url: one content, one spelling."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.trust.encoding import b64u, from_b64u

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(max_size=80))
def test_what_is_written_is_read_back(data):
    assert b64u(data) == urlsafe_b64encode(data).rstrip(b"=").decode()
    assert from_b64u(b64u(data)) == data


@given(
    st.text(st.sampled_from(_ALPHABET), max_size=9)
    | st.text(st.sampled_from(f"{_ALPHABET}=+/ .\n\u00e9"), max_size=9)
)
def test_what_is_read_is_the_only_spelling(spelling):
    """Held against the plain way: decode, encode again, compare."""
    try:
        data = urlsafe_b64decode(spelling.encode("ascii") + b"=" * (-len(spelling) % 4))
    except ValueError:
        data = b""
    right = b64u(data) == spelling
    assert from_b64u(spelling) == (data if right else None)


@pytest.mark.parametrize(
    "spelling",
    ["A", "AAAAA", "AB", "AAB", "AA==", "A A", "AA\n", "\uff21A", "+A", "/A", "\ud800", "\ud800AA"],
)
def test_every_other_spelling_is_refused(spelling):
    assert from_b64u(spelling) is None


@pytest.mark.parametrize("sign", sorted(set(map(chr, range(256))) - set(_ALPHABET)))
def test_no_sign_outside_the_alphabet_is_passed_over(sign):
    for spelling in (f"{sign}AAA", f"AA{sign}A", f"AAAA{sign}", f"AAA{sign}"):
        assert from_b64u(spelling) is None
