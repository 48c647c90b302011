import base64
import json

import jwt
import pytest

from node.accounts.tokens import NODE_SECONDS, NodeTokens, Tokens
from registry.errors import UnauthenticatedError
from registry.identifier import Prefix
from tests.support.node import NOW, TestClock

KEY = b"k" * 32


def some_tokens(clock: TestClock | None = None, **changes) -> Tokens:
    return Tokens(
        **{"key": KEY, "audience": "hazlink", "seconds": 900, "clock": clock or TestClock(), **changes}
    )


def forged(claims: dict, *, key: bytes = KEY, algorithm: str = "HS256", typ: str = "hz-access+jwt") -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"typ": typ})


GOOD = {"aud": "hazlink", "sub": "a@88", "ver": 1, "iat": int(NOW), "exp": int(NOW) + 900}


def test_a_token_says_who_until_it_expires():
    clock = TestClock()
    tokens = some_tokens(clock)
    token = tokens.issue("a@88", 7)
    claims = tokens.verify(token)
    assert (claims.name, claims.version, claims.expires) == ("a@88", 7, int(NOW) + 900)
    clock.time += 899
    tokens.verify(token)
    clock.time += 1
    with pytest.raises(UnauthenticatedError, match="expired"):
        tokens.verify(token)


def unsigned() -> str:
    head, body = ({"alg": "none", "typ": "hz-access+jwt"}, GOOD)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in (head, body))
        + "."
    )


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x.y.z",
        "a" * 3000,
        unsigned(),
        forged(GOOD, key=b"o" * 32),
        forged(GOOD, algorithm="HS512", key=b"k" * 64),
        forged(GOOD | {"aud": "other"}),
        forged(GOOD, typ="JWT"),
        forged({name: value for name, value in GOOD.items() if name != "ver"}),
        forged({name: value for name, value in GOOD.items() if name != "exp"}),
        forged(GOOD | {"ver": "1"}),
        forged(GOOD | {"exp": float(NOW) + 900.5}),
        forged(GOOD)[:-2] + "AA",
    ],
)
def test_whatever_is_not_exactly_ours_is_refused(token):
    with pytest.raises(UnauthenticatedError):
        some_tokens().verify(token)


def test_another_nodes_token_is_of_another_type_and_lives_shorter():
    clock = TestClock()
    tokens = some_tokens(clock)
    token, seconds = NodeTokens(tokens).issue(Prefix("88.107"), 3)
    claims = tokens.verify(token)
    assert claims.node
    assert (claims.name, claims.version, seconds) == ("88.107", 3, NODE_SECONDS)
    assert jwt.get_unverified_header(token)["typ"] == "hz-node+jwt"
    assert not tokens.verify(tokens.issue("a@88", 1)).node
    clock.time += NODE_SECONDS
    with pytest.raises(UnauthenticatedError, match="expired"):
        tokens.verify(token)
