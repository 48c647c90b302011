import pytest

from registry.errors import UntrustedError
from registry.trust.algorithms import admit
from registry.trust.statement_key import LEEWAY_SECONDS, StatementKey
from tests.support.trust import ALGS, NOW, a_signer

SIGNER = a_signer()


def test_an_entry_says_what_the_key_is_and_what_it_serves():
    plain = StatementKey.of(SIGNER, nbf=NOW)
    assert plain == StatementKey(SIGNER.kid, SIGNER.alg, dict(SIGNER.jwk), "sig", NOW, None)
    log = StatementKey.of(admit(SIGNER.jwk, ALGS), nbf=NOW, exp=NOW + 9, use="log")
    assert (log.kid, log.use, log.nbf, log.exp) == (SIGNER.kid, "log", NOW, NOW + 9)
    bare = StatementKey(SIGNER.kid, SIGNER.alg, SIGNER.jwk)
    assert (bare.use, bare.nbf, bare.exp) == ("sig", 0, None)


def test_what_hashes_a_key_is_not_its_members():
    assert hash(StatementKey.of(SIGNER, nbf=NOW)) == hash(StatementKey.of(SIGNER, nbf=NOW))


@pytest.mark.parametrize("alg", ALGS)
def test_the_key_itself_is_admitted_under_its_own_name_and_algorithm(alg):
    signer = a_signer("x", alg)
    assert StatementKey.of(signer, nbf=NOW).public == admit(signer.jwk, ALGS)


def test_an_entry_with_another_name_or_algorithm_is_no_key():
    other = a_signer("other", "ES256")
    for wrong in (
        StatementKey(other.kid, SIGNER.alg, SIGNER.jwk),
        StatementKey(SIGNER.kid, other.alg, SIGNER.jwk),
    ):
        with pytest.raises(UntrustedError):
            _ = wrong.public


def test_a_key_is_good_from_a_little_before_its_beginning_to_its_end():
    assert LEEWAY_SECONDS == 300
    key = StatementKey.of(SIGNER, nbf=NOW, exp=NOW + 100)
    for at, good in (
        (NOW - 301, False),
        (NOW - 300, True),
        (NOW, True),
        (NOW + 100, True),
        (NOW + 101, False),
    ):
        assert key.good_at(at) is good
    assert StatementKey.of(SIGNER, nbf=NOW).good_at(NOW + 10**9) is True
