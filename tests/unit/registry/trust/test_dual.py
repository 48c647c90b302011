"""Two signatures: all of them, never any of them."""

import orjson
import pytest

from registry.errors import InvalidValueError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.dual import sign_all, verify_all
from tests.support.trust import ALGS, a_signer

TYPE = "hz-test+jws"
ONE, OTHER = a_signer("one"), a_signer("other", "ES256")
KEYS = tuple(admit({**signer.jwk, "alg": signer.alg}, ALGS) for signer in (ONE, OTHER))
SIGNED = sign_all([ONE, OTHER], TYPE, b'{"a":1}')


def reason(act, *args, kind=UntrustedError):
    with pytest.raises(kind) as refused:
        act(*args)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


def changed(change):
    content = orjson.loads(SIGNED)
    change(content)
    return orjson.dumps(content).decode()


def test_both_signatures_give_the_payload():
    assert verify_all(SIGNED, TYPE, KEYS) == b'{"a":1}'
    assert verify_all(SIGNED, TYPE, KEYS[::-1]) == b'{"a":1}'


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda content: content["signatures"].pop(), "dual_signers"),
        (lambda content: content["signatures"].pop(0), "dual_signers"),
        (lambda content: content["signatures"].append(content["signatures"][0]), "dual_signers"),
        (lambda content: content["signatures"].__setitem__(1, content["signatures"][0]), "dual_signers"),
        (lambda content: content.update(payload="eyJhIjoyfQ"), "signature"),
        (
            lambda content: content["signatures"][1].update(signature=content["signatures"][0]["signature"]),
            "signature",
        ),
        (lambda content: content.update(more=1), "jws_general"),
    ],
)
def test_one_signature_too_few_too_many_or_wrong_refuses_all(change, code):
    assert reason(verify_all, changed(change), TYPE, KEYS) == code


def test_another_purpose_or_key_is_refused():
    assert reason(verify_all, SIGNED, "hz-other+jws", KEYS) == "jws_typ"
    third = admit(a_signer("third", "ES256").jwk, ALGS)
    assert reason(verify_all, SIGNED, TYPE, (KEYS[0], third)) == "dual_signers"


def test_any_of_cannot_be_asked_for():
    for keys in ((), KEYS[:1], (KEYS[0], KEYS[0]), (KEYS[0], admit(a_signer("third").jwk, ALGS))):
        assert reason(verify_all, SIGNED, TYPE, keys) == "dual_algorithms"
    assert reason(sign_all, [ONE], TYPE, b"{}", kind=InvalidValueError) == "dual_algorithms"
    assert (
        reason(sign_all, [ONE, a_signer("third")], TYPE, b"{}", kind=InvalidValueError) == "dual_algorithms"
    )


def test_a_refusal_names_the_algorithms_asked_for():
    with pytest.raises(UntrustedError) as refused:
        verify_all(SIGNED, TYPE, (KEYS[0], admit(a_signer("third").jwk, ALGS)))
    assert refused.value.params["algs"] == "Ed25519, Ed25519"


def test_a_text_has_its_limit():
    assert verify_all(SIGNED, TYPE, KEYS, max_bytes=len(SIGNED)) == b'{"a":1}'
    with pytest.raises(UntrustedError) as refused:
        verify_all(SIGNED, TYPE, KEYS, max_bytes=len(SIGNED) - 1)
    assert refused.value.code == "registry.trust.jws_size"


def test_two_signers_of_two_algorithms_sign():
    made = sign_all([ONE, OTHER], TYPE, b"{}")
    assert verify_all(made, TYPE, KEYS) == b"{}"


def test_a_third_signature_by_a_stranger_does_not_pass_either():
    text = jws.sign_general([ONE, OTHER, a_signer("stranger")], TYPE, b"{}")
    assert reason(verify_all, text, TYPE, KEYS) == "dual_signers"
