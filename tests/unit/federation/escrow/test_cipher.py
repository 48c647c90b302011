import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from federation.escrow import cipher
from federation.escrow.cipher import check_recipient, open_part, read_head, seal_part
from registry.errors import HazlinkError, InvalidValueError, LimitError, MalformedError, UntrustedError

KEY = X25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()


def entropy(size):
    return hashlib.sha256(b"seed").digest()[:size]


def sealed(content=b"content", **other):
    given_ = {"deposit": "d1", "part": 1, "kid": "k", "recipient": PUBLIC, "entropy": entropy}
    return seal_part(content, **given_ | other)


@given(st.binary(max_size=2000), st.integers(1, 1000))
def test_a_part_opens_to_what_was_put_in(content, part):
    data = sealed(content, part=part)
    assert open_part(data, KEY) == content
    assert (read_head(data).deposit, read_head(data).part) == ("d1", part)


@given(st.data())
def test_any_changed_bit_is_noticed(data):
    part = bytearray(sealed())
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(HazlinkError):
        open_part(bytes(part), KEY)


@given(st.binary(max_size=300))
def test_whatever_comes_is_refused(junk):
    with pytest.raises(HazlinkError):
        open_part(junk, KEY)


def test_it_is_for_one_key_alone():
    with pytest.raises(UntrustedError):
        open_part(sealed(), X25519PrivateKey.from_private_bytes(b"o" * 32))


def test_a_recipient_of_small_order_is_refused():
    for odd in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(InvalidValueError):
            sealed(recipient=odd)
        with pytest.raises(InvalidValueError):
            check_recipient(odd)
    with pytest.raises(InvalidValueError):
        check_recipient(b"short")
    check_recipient(PUBLIC)


def test_a_part_that_unpacks_beyond_all_measure_is_refused(monkeypatch):
    data = sealed(bytes(100_000))
    monkeypatch.setattr(cipher, "MAX_PLAIN_BYTES", 50_000)
    with pytest.raises(LimitError):
        open_part(data, KEY)
    with pytest.raises(LimitError):
        sealed(bytes(100_000))


def test_a_part_too_large_for_its_way_is_refused(monkeypatch):
    data = sealed()
    monkeypatch.setattr(cipher, "MAX_PART_BYTES", 50)
    with pytest.raises(LimitError):
        read_head(data)
    with pytest.raises(LimitError):
        sealed()


def test_names_no_database_could_keep_are_refused():
    for name in ("d\0", "d/1", "长", "x" * 65):
        with pytest.raises(MalformedError):
            read_head(sealed(deposit=name))
        with pytest.raises(MalformedError):
            read_head(sealed(kid=name))


@pytest.mark.parametrize("wrong", ["text", None, {}, b"", b"{}\n", b"\n\n", b'{"v":1}\nx', b"x" * 2000])
def test_what_is_no_part_is_malformed(wrong):
    with pytest.raises(MalformedError):
        read_head(wrong)
