"""Where a prefix is reached: addresses of one kind, a digest of one length, and nothing else."""

import pytest

from registry.errors import MalformedError
from registry.trust.encoding import b64u
from registry.trust.endpoints import Endpoints

FULL = Endpoints(
    resolve=("https://one.example", "https://two.example:8443/base"),
    exchange="https://one.example/exchange",
    tls_x5t_s256=b64u(bytes(32)),
    log_vkey="one.example/log1+00000000+AAAA",
)


def refused(content):
    with pytest.raises(MalformedError) as error:
        Endpoints.from_claims(content)
    assert error.value.message("zh") != error.value.message("en")
    return error.value.code.removeprefix("registry.trust."), error.value.field


def test_what_is_stated_comes_back():
    claims = FULL.to_claims()
    assert claims == {
        "resolve": ["https://one.example", "https://two.example:8443/base"],
        "exchange": "https://one.example/exchange",
        "tls_x5t_s256": b64u(bytes(32)),
        "log_vkey": "one.example/log1+00000000+AAAA",
    }
    assert Endpoints.from_claims(claims) == FULL
    assert Endpoints().to_claims() == {"resolve": []}
    assert Endpoints.from_claims({}) == Endpoints((), None, None, None)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example", "https://a.example:443/x/y", "https://10.0.0.1", "https://[::1]:8443",
        "http://127.0.0.1:8800", "http://[::1]:8800", "http://localhost", f"https://{'a' * 504}",
    ],
)  # fmt: skip
def test_an_address_is_https_or_loopback(url):
    assert Endpoints.from_claims({"resolve": [url]}).resolve == (url,)
    assert Endpoints.from_claims({"exchange": url}).exchange == url


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example", "http://10.0.0.1", "ftp://127.0.0.1", "//a.example", "a.example", "https://",
        "https:///x", "https://a@b.example", "https://a.example?x=1", "https://a.example#x", "https://a.example/ x",
        "https://a.example\\@b", "https://a.example:99999", "https://[::1", "https://例.example",
        "https://a.example/\n", "https://a.example/\x7f", f"https://{'a' * 505}", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_every_other_address_is_refused(url):
    assert refused({"resolve": ["https://a.example", url]}) == ("ep_url", "ep.resolve")
    assert refused({"exchange": url}) == (
        ("claim_type", "ep.exchange") if len(url) > 512 else ("ep_url", "ep.exchange")
    )


def test_only_a_text_is_an_address():
    for wrong in (1, None, b"https://a.example", ["https://a.example"]):
        assert refused({"resolve": [wrong]}) == ("ep_url", "ep.resolve")
    assert refused({"resolve": "https://a.example"}) == ("claim_type", "ep.resolve")
    assert refused({"exchange": 1}) == ("claim_type", "ep.exchange")


def test_there_are_at_most_eight_addresses():
    urls = [f"https://{number}.example" for number in range(9)]
    assert len(Endpoints.from_claims({"resolve": urls[:8]}).resolve) == 8
    assert refused({"resolve": urls}) == ("claim_type", "ep.resolve")


def test_a_certificate_is_named_by_32_bytes():
    for wrong in (b64u(bytes(31)), b64u(bytes(33)), "A", "="):
        assert refused({"tls_x5t_s256": wrong}) == ("ep_pin", "ep.tls_x5t_s256")
    for wrong in ("", 1, "A" * 513):
        assert refused({"tls_x5t_s256": wrong}) == ("claim_type", "ep.tls_x5t_s256")
    assert refused({"tls_x5t_s256": "!" * 512}) == ("ep_pin", "ep.tls_x5t_s256")


def test_a_verifier_key_is_a_text_of_bounded_length():
    assert Endpoints.from_claims({"log_vkey": "k" * 512}).log_vkey == "k" * 512
    for wrong in ("", 1, "k" * 513):
        assert refused({"log_vkey": wrong}) == ("claim_type", "ep.log_vkey")


def test_only_an_object_states_endpoints():
    assert refused([]) == ("claim_type", "ep")
