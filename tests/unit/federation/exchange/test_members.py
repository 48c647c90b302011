import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.members import digest_claim, handle_claim, parse_handle
from registry.errors import MalformedError
from registry.identifier import Prefix
from registry.trust.claims import Claims
from registry.trust.encoding import b64u, from_b64u


@given(st.binary(min_size=32, max_size=32))
def test_every_digest_is_read(raw):
    assert digest_claim(Claims({"x": b64u(raw)}), "x") == b64u(raw)


@given(st.text("AEIMQUYcgkosw048BCDFabz_-", min_size=42, max_size=44))
def test_a_digest_is_read_exactly_when_it_is_canonical_and_32_bytes(text):
    raw = from_b64u(text)
    right = raw is not None and len(raw) == 32
    try:
        digest_claim(Claims({"x": text}), "x")
    except MalformedError:
        assert not right
    else:
        assert right


@pytest.mark.parametrize("text", ["0.NA/88", "0.NA/88.107", "0.NA/88.A-B"])
def test_a_handle_has_one_spelling(text):
    assert parse_handle(text) == Prefix.parse(text)
    assert handle_claim(Claims({"iss": text}), "iss").handle.text == text


@pytest.mark.parametrize(
    "text",
    ["88.107", "0.na/88", "0.NA/88.a", "0.NA/0.NA", "0.NA/88.", "0.NA/.88", "0.NA/88%2F1", "0.NA/88/1", "0.NA/0.1",
     "0.NA/0.NA/88", "0.NA/88 ", "0.NA/８８", "300:0.NA/88", "0.NA/88\n"],
)  # fmt: skip
def test_fault_03_another_spelling_of_a_handle_names_nobody(text):
    assert parse_handle(text) is None
    with pytest.raises(MalformedError):
        handle_claim(Claims({"iss": text}), "iss")
