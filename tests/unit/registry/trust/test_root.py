import joserfc.jws
import orjson
import pytest
from joserfc.jwk import OKPKey

from registry.errors import InvalidValueError, UntrustedError
from registry.trust import jws
from registry.trust.root import (
    ROOT_TYPE,
    Anchor,
    draft_root,
    fingerprint,
    make_root,
    pin,
    read_draft,
    read_root,
    walk,
)
from tests.support.trust import ALGS, DAY, NOW, a_root, a_signer

A, B, C, D, E = (a_signer(name) for name in "ABCDE")
END = NOW + 365 * DAY


def made(signers, threshold=2, *, keys=None, ver=1, iat=NOW, exp=END, algs=ALGS):
    return make_root(signers, threshold, keys=keys, ver=ver, iat=iat, exp=exp, algs=algs)


def anchor_on(text):
    root = read_root(text)
    return Anchor(root, fingerprint(root))


def reason(act, *args, kind=UntrustedError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


def forged(signers, **change):
    content = orjson.loads(read_root(made([A, B])).payload) | change
    content = {name: value for name, value in content.items() if value is not None}
    return jws.sign_general(signers, ROOT_TYPE, orjson.dumps(content))


def test_a_root_is_read_back_and_another_library_verifies_it():
    text = made([A, B, C])
    root = read_root(text)
    assert list(root.keys) == [A.kid, B.kid, C.kid]
    assert (root.ver, root.threshold, root.iat, root.exp, root.algs) == (1, 2, NOW, END, ALGS)
    for number, signer in enumerate((A, B, C)):
        document = orjson.loads(text)
        one = {**document, "signatures": [document["signatures"][number]]}
        checked = joserfc.jws.deserialize_json(one, OKPKey.import_key(signer.jwk), algorithms=["Ed25519"])
        assert checked.payload == root.payload


def test_fewer_signatures_than_the_threshold_do_not_make_a_root():
    assert reason(made, [A], 2, keys=[A, B, C], kind=InvalidValueError) == "root_threshold"
    assert read_root(made([A, C], 2, keys=[A, B, C])).threshold == 2
    assert reason(read_root, forged([A])) == "root_threshold"
    assert reason(read_root, forged([A, A, A])) == "root_threshold"
    assert reason(read_root, forged([A, D, E])) == "root_threshold"
    assert reason(made, [A, B], 3, kind=InvalidValueError) == "claim_type"
    assert reason(made, [A, B], 0, kind=InvalidValueError) == "claim_type"


def test_a_wrong_signature_under_a_known_key_refuses_the_whole_document():
    document = orjson.loads(made([A, B, C]))
    document["signatures"][2]["signature"] = document["signatures"][1]["signature"]
    assert reason(read_root, orjson.dumps(document).decode()) == "signature"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "top"}, "claim_type"),
        ({"type": None}, "claim_missing"),
        ({"ver": 0}, "claim_type"),
        ({"exp": NOW}, "life_empty"),
        ({"algs": ["ES256"]}, "alg_not_allowed"),
        ({"algs": []}, "claim_type"),
        ({"keys": {}}, "claim_type"),
        ({"keys": {}, "threshold": 1}, "root_threshold"),
        ({"algs": [*ALGS, *(f"a{n}" for n in range(15))]}, "claim_type"),
        ({"keys": []}, "claim_type"),
        ({"keys": {A.kid: "x"}}, "claim_type"),
        ({"keys": {A.kid: B.jwk}}, "key_kid"),
        ({"keys": {"same": A.jwk, A.kid: A.jwk}}, "key_kid"),
        ({"keys": {A.kid: {**A.jwk, "d": "AAAA"}}}, "key_private"),
        ({"keys": {a_signer(f"k{n}").kid: a_signer(f"k{n}").jwk for n in range(33)}}, "root_keys"),
        ({"threshold": "2"}, "claim_type"),
    ],
)
def test_a_root_says_exactly_what_it_must(change, expected):
    assert reason(read_root, forged([A, B], **change)) == expected


def test_the_pinned_fingerprint_decides_which_root_it_is():
    text, other = made([A, B]), made([D, E])
    right = fingerprint(read_root(text))
    assert pin([text], right, now=NOW).root.ver == 1
    assert reason(pin, [other], right, now=NOW) == "fingerprint"
    assert reason(Anchor, read_root(other), right) == "fingerprint"
    assert reason(pin, [], right, now=NOW) == "root_missing"


def test_the_fingerprint_is_that_of_what_was_signed_not_of_who_signed():
    assert fingerprint(read_root(made([A, B], keys=[A, B, C]))) == fingerprint(
        read_root(made([B, C], keys=[A, B, C]))
    )


def test_the_keys_of_a_root_are_replaced_by_enough_of_the_old_and_enough_of_the_new():
    first = made([A, B, C])
    second = made([A, B, D, E], ver=2, keys=[C, D, E])
    third = made([D, E], ver=3, keys=[D, E])
    anchor = pin([first, second, third], fingerprint(read_root(first)), now=NOW)
    assert anchor.root.ver == 3
    assert anchor.fingerprint == fingerprint(read_root(first))


def test_a_successor_without_enough_old_signatures_is_refused():
    anchor = anchor_on(made([A, B, C]))
    assert reason(anchor.advance, made([D, E], ver=2)) == "root_threshold"
    assert reason(anchor.advance, made([A, D, E], ver=2, keys=[D, E])) == "root_threshold"
    assert reason(made, [A, B, D], ver=2, keys=[D, E], kind=InvalidValueError) == "root_threshold"


def test_versions_go_up_by_exactly_one():
    first = made([A, B])
    anchor = anchor_on(first)
    assert reason(anchor.advance, made([A, B], ver=3)) == "root_version"
    assert reason(anchor.advance, first) == "root_version"
    second = anchor.advance(made([A, B], ver=2))
    assert reason(second.advance, made([A, B], ver=2)) == "root_version"
    assert reason(pin, [made([A, B], ver=2)], anchor.fingerprint, now=NOW) == "root_version"


def test_versions_between_may_have_expired_the_last_must_be_fresh():
    first = made([A, B], exp=NOW + 1)
    second = made([A, B], ver=2, exp=NOW + 2)
    third = made([A, B], ver=3)
    anchor = anchor_on(first)
    assert walk(anchor, [second, third], now=NOW + DAY).root.ver == 3
    assert reason(walk, anchor, [second], now=NOW + DAY) == "root_expired"
    assert reason(walk, anchor, [], now=NOW + DAY) == "root_expired"


def test_text_that_is_no_root_is_refused():
    assert reason(read_root, "") == "json_syntax"
    assert reason(read_root, "{}") == "jws_general"
    assert reason(read_root, " " * 70_000) == "jws_size"
    token = jws.sign_general([A, B], "hz-statement+jws", b"{}")
    assert reason(read_root, token) == "jws_typ"


def test_a_root_has_its_limits():
    keys = {a_signer(f"k{n}").kid: a_signer(f"k{n}").jwk for n in range(32)}
    assert len(read_root(forged([a_signer("k0"), a_signer("k1")], keys=keys)).keys) == 32
    algs = [*ALGS, *(f"a{n}" for n in range(14))]
    assert read_root(forged([A, B], algs=algs)).algs == tuple(algs)
    assert read_root(made([A], 1)).threshold == 1
    assert reason(read_root, " " * 65_536) == "json_syntax"
    assert reason(read_root, " " * 65_537) == "jws_size"


def test_a_root_is_good_until_its_end():
    read_root(made([A, B])).require_fresh(END)
    assert reason(read_root(made([A, B])).require_fresh, END + 1) == "root_expired"


def test_a_draft_is_read_by_the_same_rules_and_has_no_signatures():
    payload = draft_root([A, B], 2, algs=ALGS, iat=NOW, exp=END, ver=1)
    made = read_draft(payload)
    assert (made.text, made.payload, list(made.keys)) == ("", payload, [A.kid, B.kid])
    for wrong, code in ((b"nonsense", "json_syntax"), (b"[]", "jws_payload"), (b"{}", "claim_missing")):
        assert reason(read_draft, wrong) == code


def test_the_builder_makes_a_root():
    root = a_root("A", "B", threshold=2)
    assert root.anchor == pin([root.text], root.fingerprint, now=NOW)
    assert root.document.key(A.kid) is not None
    assert root.document.key(C.kid) is None
