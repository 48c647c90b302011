"""Tokens, pairs, keys and proofs that do not hold, at every door of a running node."""

import base64
import hashlib
import hmac
import json
from typing import Any

import grpc
import httpx
import pytest

from tests.support.garbage import (
    HANDLE,
    PROTOBUF,
    a_batch,
    called,
    check_refusal,
    fed,
)
from tests.support.node import an_admin, basic
from tests.support.served import OWN, Served, served

_RESOLVER, _REGISTRY = "/hazlink.resolver.v1.Resolver/", "/hazlink.registry.v1.Registry/"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with fed(tmp_path_factory.mktemp("garbage")) as made:
        yield made


def a_token(
    house: Served,
    *,
    key: bytes | None = None,
    alg: str = "HS256",
    typ: str | None = "hz-access+jwt",
    **changed: Any,
) -> str:
    """Return a token like those of the node, with something changed; None leaves a claim out.

    Made by hand: a library would not let us sign with somebody's public key.
    """
    own = (house.node.settings.data / "secrets" / "tokens.key").read_bytes()
    claims = json.loads(unpacked(house.tokens["admin"].split(".")[1])) | changed
    header = {"alg": alg, "typ": typ}
    parts = [{name: value for name, value in part.items() if value is not None} for part in (header, claims)]
    signed = ".".join(packed(json.dumps(part).encode()) for part in parts)
    method = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[alg]
    return f"{signed}.{packed(hmac.new(own if key is None else key, signed.encode(), method).digest())}"


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def bad_tokens(house: Served) -> dict[str, str]:
    good = house.tokens["admin"]
    head, claims, signature = good.split(".")
    public = json.dumps(house.node.site).encode()
    none = packed(b'{"alg":"none","typ":"hz-access+jwt"}')
    return {
        "alg none": f"{none}.{claims}.",
        "alg none, signed": f"{none}.{claims}.{signature}",
        "HS256 with the public key": a_token(house, key=public),
        "HS512": a_token(house, alg="HS512"),
        "expired": a_token(house, exp=1_000_000_000, iat=999_999_000),
        "for somebody else": a_token(house, aud="another-node"),
        "for others": a_token(house, aud=["a", "b"]),
        "without an audience": a_token(house, aud=None),
        "without an end": a_token(house, exp=None),
        "an end that is text": a_token(house, exp="never"),
        "an end in fractions": a_token(house, exp=4e9 + 0.5),
        "another type": a_token(house, typ="JWT"),
        "no type": a_token(house, typ=None),
        "another version": a_token(house, ver=99),
        "a version that is true": a_token(house, ver=True),
        "nobody's": a_token(house, sub="nobody@88"),
        "a name that is none": a_token(house, sub="\0"),
        "a name that is a number": a_token(house, sub=7, key=None),
        "changed": f"{head}.{claims[:-2]}AA.{signature}",
        "cut": good[:-4],
        "two parts": f"{head}.{claims}",
        "no parts": "x",
        "a dash": "-",
        "long": good + "A" * 5_000,
        "not base64": "ä.ö.ü",
        "dots": "." * 100,
    }


TOKENS = (
    "alg none", "alg none, signed", "HS256 with the public key", "HS512", "expired", "for somebody else", "for others",
    "without an audience", "without an end", "an end that is text", "an end in fractions", "another type", "no type",
    "another version", "a version that is true", "nobody's", "a name that is none", "a name that is a number",
    "changed", "cut", "two parts", "no parts", "a dash", "long", "not base64", "dots",
)  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
def test_a_bad_token_is_refused_at_every_door_even_where_anyone_may_pass(house, token):
    shown = f"Bearer {bad_tokens(house)[token]}".encode("latin-1", "replace")
    for method, path in (("GET", "/auth/me"), ("GET", "/health/live"), ("GET", f"/id/{HANDLE}")):
        answer = house.plain.request(method, path, headers={"authorization": shown})
        check_refusal(answer, 401)
        assert "Bearer" in answer.headers["www-authenticate"] or "Basic" in answer.headers["www-authenticate"]
    for path in (f"/api/handles/{HANDLE}", f"/api/handles?prefix={OWN}"):
        answer = house.plain.get(path, headers={"authorization": shown})
        assert (answer.status_code, answer.content) == (401, b"")
    body = house.plain.post(
        "/resolver/v1/batch", content=a_batch(1), headers={"authorization": shown, "content-type": PROTOBUF}
    )
    check_refusal(body, 401)
    metadata = (("authorization", shown.decode("latin-1")),)
    if shown.isascii():
        status, details, _ = called(house, f"{_RESOLVER}Resolve", b"\x0a\x031/1", metadata)
        assert status is grpc.StatusCode.UNAUTHENTICATED
        assert len(details.split("\n")) == 2


def test_there_is_a_list_of_every_bad_token(house):
    assert set(TOKENS) == set(bad_tokens(house))
    good = {"authorization": f"Bearer {a_token(house)}"}
    assert house.plain.get("/auth/me", headers=good).status_code == 200


BASICS = (
    "=", "!", "YQ", base64.b64encode(b"no colon").decode(), base64.b64encode(b"\xff\xfe:x").decode(),
    base64.b64encode(b":").decode(), base64.b64encode(b"a\0b:c").decode(), "QQ==" * 2_000,
    base64.b64encode(b"300%3A0.NA/88.107.1001:wrong").decode(), base64.b64encode(b"300:0.NA/88.107.1001:x").decode(),
    base64.b64encode(b"%ZZ%00:x").decode(), base64.b64encode(b"admin@88.107.1001:wrong").decode(),
)  # fmt: skip


def test_a_wrong_pair_is_refused_and_many_wrong_pairs_are_slowed_down(tmp_path):
    with served(tmp_path / "basic") as house:
        for given in BASICS:
            answer = house.plain.get("/auth/me", headers={"authorization": f"Basic {given}"})
            check_refusal(answer, 401, 429)
            handle = house.plain.get(f"/api/handles/{HANDLE}", headers={"authorization": f"Basic {given}"})
            assert handle.status_code in (401, 503)
            assert handle.status_code == 503 or not handle.content
        for _ in range(30):
            answer = house.plain.get("/auth/me", headers=basic(f"admin@{OWN}", "wrong"))
        check_refusal(answer, 429)
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("way", ["http", "proxied"])
@pytest.mark.parametrize("path", ["/auth/me", "/health/live", f"/api/handles/{HANDLE}", f"/id/{HANDLE}"])
def test_a_right_pair_is_not_even_looked_at_where_others_could_listen(house, way, path):
    """In the clear from elsewhere, or from this machine on behalf of elsewhere through a proxy nobody named."""
    name, secret = house.secrets["admin"]
    headers = basic(name, secret) | {"accept-language": "en"}
    if way == "proxied":
        answer = house.plain.get(path, headers=headers | {"x-forwarded-for": "192.0.2.7"})
    else:
        answer = house.run(asked_from(house, "192.0.2.7", path, headers))
    check_refusal(answer, 401)
    assert "TLS" in answer.text
    assert house.plain.get("/auth/me", headers=headers).status_code == 200


async def asked_from(house: Served, address: str, path: str, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(app=house.node.asgi(), client=(address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://node.test") as client:
        return await client.get(path, headers=headers)


def test_credentials_sent_twice_are_refused(house):
    shown = [("authorization", "Bearer x"), ("authorization", f"Bearer {house.tokens['admin']}")]
    check_refusal(house.plain.get("/auth/me", headers=shown), 400)
    metadata = tuple(shown)
    status, details, _ = called(house, f"{_RESOLVER}Resolve", b"\x0a\x031/1", metadata)
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert "authorization" in details


def a_join(house: Served, **changed: Any) -> httpx.Response:
    """Ask for a prefix with a good invitation, and something in the request changed."""
    letter = house.node.prefixes.invite(
        an_admin(OWN, name="test@88"), OWN, None, urls=("http://127.0.0.1:1",)
    )
    form = {
        "secret": letter.secret,
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": packed(b"\x01" + bytes(31))},
        "possession": "a.b.c",
        "prefix": f"{OWN}.9",
        "endpoints": {
            "resolve": ["http://127.0.0.1:1"],
            "exchange": None,
            "tls_x5t_s256": None,
            "log_vkey": None,
        },
        "name": "",
        "contact": "",
        "note": "",
    }
    return house.plain.post("/federation/v1/join", json=form | changed)


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "OKP", "crv": "Ed25519", "x": packed(b"\x01" + bytes(31))},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "oct", "k": "AA"},
        {"kty": "EC", "crv": "P-256", "x": packed(bytes(32)), "y": packed(bytes(32))},
        {},
    ],
    ids=["low order", "short", "symmetric", "off the curve", "nothing"],
)
def test_a_key_that_vouches_for_nothing_is_a_mistake_of_whoever_sent_it(house, jwk):
    answer = a_join(house, jwk=jwk)
    check_refusal(answer, 403)
    assert answer.json()["type"].endswith(":untrusted")


def test_a_request_for_a_prefix_with_a_forged_proof_or_secret_is_refused(house):
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    check_refusal(a_join(house, jwk=key), 400, 401)
    check_refusal(a_join(house, jwk=key, possession=f"{house.tokens['admin']}"), 400, 401, 403)
    check_refusal(a_join(house, jwk=key, secret="guess"), 401)
    check_refusal(a_join(house, jwk=key, endpoints={"resolve": ["file:///etc/passwd"]}), 400, 422)
