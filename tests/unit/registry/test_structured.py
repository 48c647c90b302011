from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidValueError
from registry.structured import admin_data, from_json, structure_of, to_json

#: Example C of the facts: a site record of 82 bytes.
SITE = bytes.fromhex(
    "0001020a0001800200000000000000010000000464657363000000047061726b"
    "0000000100000001000000000000000000000000c000020a000000000000000303010000"
    "0a5102000000"
    "0a51030200001f40"
)


def test_the_site_record_of_the_facts_reads_and_writes_back():
    site = to_json("site", SITE)
    assert len(SITE) == 82
    assert site["protocolVersion"] == "2.10"
    assert site["attributes"] == [{"name": "desc", "value": "park"}]
    (server,) = site["servers"]
    assert server["address"] == "192.0.2.10"
    assert [(i["protocol"], i["port"], i["query"], i["admin"]) for i in server["interfaces"]] == [
        ("TCP", 2641, True, True), ("UDP", 2641, True, False), ("HTTP", 8000, True, True),
    ]  # fmt: skip
    assert from_json("site", site) == SITE


def test_bit_eleven_of_the_permissions_stands_left():
    data = from_json("admin", {"handle": "0.NA/88.107", "index": "200", "permissions": "011111110011"})
    assert data == admin_data("0.NA/88.107", 200, 0x07F3)
    assert to_json("admin", data)["permissions"] == "011111110011"
    assert to_json("admin", data + b"\x00\x00") == to_json("admin", data), "two legacy bytes are tolerated"
    everything = from_json("admin", {"handle": "a/b", "index": 1, "permissions": "*"})
    assert to_json("admin", everything)["permissions"] == "1" * 12


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(min_value=0, max_value=2**32 - 1)), max_size=5))
def test_admin_groups_survive_a_round_trip(entries):
    group = [{"handle": handle, "index": index} for handle, index in entries]
    assert to_json("vlist", from_json("vlist", group)) == group


@given(st.binary(max_size=80), st.sampled_from(["admin", "vlist", "site", "key"]))
def test_any_bytes_are_read_or_refused_and_nothing_else(data, structure):
    with suppress(InvalidValueError):
        to_json(structure, data)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["handle", "index", "permissions", "kty", "servers", "n", "e"]), x
)), st.sampled_from(["admin", "vlist", "site", "key"]))  # fmt: skip
def test_any_json_is_written_or_refused_and_nothing_else(content, structure):
    with suppress(InvalidValueError):
        from_json(structure, content)


def test_an_rsa_key_keeps_its_sign_byte_and_an_ed25519_key_its_jwk():
    rsa = {"kty": "RSA", "e": "AQAB", "n": "_" * 20}
    data = from_json("key", rsa)
    assert b"RSA_PUB_KEY\x00\x00" in data
    assert b"\x00\xff\xff" in data
    assert to_json("key", data) == rsa
    okp = {"kty": "OKP", "crv": "Ed25519", "x": "abc"}
    assert to_json("key", from_json("key", okp)) == okp


@pytest.mark.parametrize(
    ("name", "structure"),
    [("hs_admin", "admin"), ("HS_SITE.PREFIX", "site"), ("HS_NA_DELEGATE", "site"), ("URL", None)],
)
def test_types_know_their_structure(name, structure):
    assert structure_of(name) == structure
