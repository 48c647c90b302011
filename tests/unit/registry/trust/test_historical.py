"""Lists of every key a prefix had: they only grow, and each key counts in its life alone."""

from dataclasses import replace

import orjson
import pytest

from registry.errors import InvalidValueError, UntrustedError
from registry.identifier import Prefix
from registry.trust import jws
from registry.trust.historical import HISTORY_TYPE, HistoricalKey, issue_history, read_history, verify_history
from tests.support.trust import DAY, NOW, a_chain, a_root, a_signer

PARK, PLANT = Prefix("88.107"), Prefix("88.107.1001")


def reason(act, *args, kind=UntrustedError, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


def a_key(name, *, alg="Ed25519", iat=NOW - 9 * DAY, exp=None, revoked=None, use="sig"):
    signer = a_signer(name, alg)
    return HistoricalKey(signer.kid, signer.alg, signer.jwk, use, iat, exp, revoked)


def a_history(*keys, issuer=PARK, subject=PLANT, signer=None, ver=1, iat=NOW - 60):
    signer = signer or a_signer(issuer.key if issuer else "root")
    return issue_history(signer, issuer=issuer, subject=subject, ver=ver, iat=iat, keys=keys)


OLD = a_key("old", exp=NOW - 3 * DAY)
GONE = a_key("gone", alg="ES256", exp=NOW - DAY, revoked=NOW - 2 * DAY)
LIVE = a_key("live", iat=NOW - DAY)


def test_a_list_says_what_was_signed():
    token = a_history(OLD, GONE, LIVE)
    made = verify_history(token, a_chain().verified("88.107"), now=NOW)
    assert (made.issuer, made.subject, made.ver, made.keys) == (PARK, PLANT, 1, (OLD, GONE, LIVE))
    assert made.issuer_name == "88.107"
    assert jws.parse(token, typ="hz-keys+jws") == made.parsed


def test_the_root_lists_the_keys_of_the_top():
    token = a_history(LIVE, issuer=None, subject=Prefix("88"))
    assert verify_history(token, a_root().anchor, now=NOW).issuer_name == "0.NA"


def test_a_key_counts_in_its_life_and_before_its_revocation():
    made = read_history(a_history(OLD, GONE, LIVE))
    assert made.signing_key(OLD.kid, NOW - 4 * DAY).kid == OLD.kid
    assert reason(made.signing_key, OLD.kid, NOW) == "key_not_in_use"
    assert reason(made.signing_key, OLD.kid, NOW - 10 * DAY) == "key_not_in_use"
    assert made.signing_key(GONE.kid, NOW - 3 * DAY).alg == "ES256"
    assert reason(made.signing_key, GONE.kid, NOW - 2 * DAY) == "key_not_in_use"
    assert reason(made.signing_key, a_signer("never").kid, NOW) == "kid_unknown"
    assert made.key(LIVE.kid, "log") is None


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda: a_history(LIVE, signer=a_signer("stranger")), "kid_unknown"),
        (lambda: a_history(LIVE, issuer=Prefix("88"), signer=a_signer("88.107")), "list_issuer"),
        (lambda: a_history(LIVE, iat=NOW + 301), "list_future"),
    ],
)
def test_a_list_by_anybody_else_is_refused(token, code):
    assert reason(verify_history, token(), a_chain().verified("88.107"), now=NOW) == code


@pytest.mark.parametrize(
    ("keys", "subject", "code"),
    [
        ((LIVE, LIVE), PLANT, "history_twice"),
        ((LIVE,), Prefix("88.108"), "not_below"),
        ((LIVE,), PARK, "not_below"),
        ((replace(LIVE, exp=LIVE.iat - 1),), PLANT, "life_empty"),
        ((replace(LIVE, kid=OLD.kid),), PLANT, "key_kid"),
    ],
)
def test_what_a_reader_would_refuse_is_not_signed(keys, subject, code):
    assert reason(a_history, *keys, subject=subject, kind=InvalidValueError) == code


def forged(row=None, **claims):
    """A list that could not be issued; `row` changes its one key, a value of None leaves the member out."""
    content = jws.parse(a_history(LIVE), typ=HISTORY_TYPE).claims() | claims
    if row is not None:
        changed = content["keys"][0] | row
        content["keys"] = [{name: value for name, value in changed.items() if value is not None}]
    return jws.sign(a_signer("88.107"), HISTORY_TYPE, orjson.dumps(content))


@pytest.mark.parametrize(
    ("row", "claims", "code"),
    [
        ({"kid": None}, {}, "claim_missing"),
        ({"alg": None}, {}, "claim_missing"),
        ({"use": None}, {}, "claim_missing"),
        ({"use": "enc"}, {}, "key_use"),
        ({"iat": None}, {}, "claim_missing"),
        ({"exp": "soon"}, {}, "claim_type"),
        ({"revoked": -1}, {}, "claim_type"),
        (None, {"ver": 0}, "claim_type"),
        (None, {"iss": "300:0.NA/0.NA", "sub": "0.NA/0.NA"}, "not_below"),
        (None, {"sub": "0.NA/0.NA"}, "not_below"),
        (None, {"sub": "0.NA/88"}, "not_below"),
    ],
)
def test_a_list_that_nobody_could_issue_is_refused(row, claims, code):
    assert reason(read_history, forged(row, **claims)) == code


@pytest.mark.parametrize("use", ["sig", "log", "tls"])
def test_every_use_is_read_as_it_was_written(use):
    key = a_key("x", use=use, exp=NOW)
    assert read_history(a_history(key)).keys == (key,)
    assert read_history(a_history(key)).key(key.kid, use) == key


def test_a_list_has_its_limits():
    def row(number):
        return {"kid": "x", "number": number}

    assert reason(read_history, forged(keys=[row(n) for n in range(1024)])) == "claim_missing"
    assert reason(read_history, forged(keys=[row(n) for n in range(1025)])) == "claim_type"
    assert reason(read_history, "x" * 262_144) == "jws_segments"
    assert reason(read_history, "x" * 262_145) == "jws_size"


def test_a_life_has_its_first_and_its_last_second():
    for key, first, last in (
        (a_key("a", iat=NOW), NOW - 300, NOW + 10**9),
        (a_key("b", iat=NOW, exp=NOW + 9), NOW - 300, NOW + 9),
        (a_key("c", iat=NOW, revoked=NOW + 9), NOW - 300, NOW + 8),
        (a_key("d", iat=NOW, exp=NOW), NOW - 300, NOW),
    ):
        read = read_history(a_history(key)).keys[0]
        assert read == key
        assert [read.good_at(at) for at in (first - 1, first, last, last + 1)] == [
            False,
            True,
            True,
            key.exp is None and key.revoked is None,
        ]


def test_a_key_that_is_no_signing_key_may_not_disappear_either():
    before = read_history(a_history(a_key("log", use="log"), LIVE))
    read_history(a_history(a_key("log", use="log"), LIVE, ver=2)).require_grown(before)
    assert reason(read_history(a_history(LIVE, ver=2)).require_grown, before) == "history_shrunk"


def test_a_list_only_grows():
    before = read_history(a_history(OLD, GONE, LIVE))
    read_history(a_history(OLD, GONE, replace(LIVE, exp=NOW), a_key("next"), ver=2)).require_grown(before)
    for keys in (
        (OLD, GONE),
        (OLD, replace(GONE, revoked=None), LIVE),
        (OLD, replace(GONE, revoked=NOW), LIVE),
        (replace(OLD, exp=None), GONE, LIVE),
        (replace(OLD, use="log"), GONE, LIVE),
    ):
        shorter = read_history(a_history(*keys, ver=2))
        assert reason(shorter.require_grown, before) == "history_shrunk"
