import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.value import (
    FEDERATION,
    PRIVATE,
    PUBLIC,
    TtlType,
    Value,
    Visibility,
    digest,
    encode_value,
    salted_digest,
)

#: Value 1 of example B in the facts file on identifiers, §4.
EXAMPLE = bytes.fromhex(
    "000000016ab13b8000000151800e0000000355524c0000001468747470733a2f2f652e6578616d706c652f623100000000"
)
URL = Value(index=1, type="URL", data=b"https://e.example/b1", timestamp=0x6AB13B80)


def test_a_value_is_encoded_as_the_protocol_example():
    assert encode_value(URL) == EXAMPLE


def test_the_digest_is_that_of_the_protocol_example():
    assert digest(URL) == "nJp60S1o6j7q0/5A/jBJUlZw5IUN410IeCwtVOHLGkE="


def test_the_digest_leaves_out_index_and_timestamp():
    assert digest(replace(URL, index=7, timestamp=1)) == digest(URL)
    assert digest(replace(URL, ttl=1)) != digest(URL)


def test_a_salt_hides_what_a_digest_would_tell():
    one, other = replace(URL, salt=b"1" * 16), replace(URL, salt=b"2" * 16)
    assert len({salted_digest(one), salted_digest(other), digest(URL)}) == 3


@pytest.mark.parametrize("visibility", [FEDERATION, PRIVATE, Visibility(PRIVATE.scope)])
def test_a_value_that_is_not_public_loses_the_public_read_bit(visibility):
    assert URL.seen_as(visibility).permissions == 0b1100
    assert URL.seen_as(visibility).seen_as(PUBLIC) == URL


@given(
    index=st.integers(1, 2**32 - 1),
    kind=st.text(st.characters(blacklist_categories=["Cs"]), max_size=20),
    data=st.binary(max_size=60),
    ttl=st.integers(-(2**31), 2**31 - 1),
    refs=st.lists(st.tuples(st.text("abc/1", max_size=9), st.integers(0, 2**32 - 1)), max_size=3),
)
def test_the_encoding_has_exactly_the_length_its_parts_ask_for(index, kind, data, ttl, refs):
    made = encode_value(
        Value(index=index, type=kind, data=data, ttl=ttl, ttl_type=TtlType.ABSOLUTE, references=tuple(refs))
    )
    references = sum(8 + len(handle.encode()) for handle, _ in refs)
    assert len(made) == 14 + 4 + len(kind.encode()) + 4 + len(data) + 4 + references
    assert struct.unpack(">I", made[:4])[0] == index
