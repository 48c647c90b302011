"""Garbage at every door of a running node: refused with a reason in two languages, never with a fault of ours."""

import base64
import hashlib
import hmac
import json
import socket
import time
from contextlib import suppress
from typing import Any

import grpc
import httpx
import pytest

import node.doors
import node.edge
from proto import registry_pb2, resolver_pb2
from registry.clock import SystemClock
from registry.record import Draft
from registry.value import Value
from tests.support.databases import a_postgres_url
from tests.support.node import an_admin, basic
from tests.support.role_matrix import RPCS
from tests.support.served import ANONYMOUS, OWN, Served, served

HANDLE = f"{OWN}/TANK"
NEW = f"/api/handles/{OWN}/NEW"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
_RESOLVER, _REGISTRY = "/hazlink.resolver.v1.Resolver/", "/hazlink.registry.v1.Registry/"
#: What no answer may hold: traces, names of files and libraries.
_INSIDE = (
    "Traceback",
    'File "',
    ".py",
    "sqlalchemy",
    "sqlite",
    "orjson",
    "pydantic",
    "google.protobuf",
    "errors.pydantic",
)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with served(tmp_path_factory.mktemp("garbage")) as made:
        by = an_admin(OWN, name="test@88")
        made.node.registry.register(
            by, Draft(identifier=HANDLE, values=(Value(1, "URL", b"https://a.example"),))
        )
        yield made


def check_refusal(answer: httpx.Response, *statuses: int) -> None:
    """Check that an answer is a refusal, says why in Chinese and in English, and nothing of how we are made."""
    assert answer.status_code in (statuses or range(400, 500)), (answer.status_code, answer.text)
    assert not [word for word in _INSIDE if word in answer.text], answer.text
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail_zh"] != problem["detail_en"]
        assert "{" not in problem["detail_en"]
        assert any("\u4e00" <= letter <= "\u9fff" for letter in problem["detail_zh"])
        assert not any("\u4e00" <= letter <= "\u9fff" for letter in problem["detail_en"].split(":")[0])
    elif "json" in answer.headers.get("content-type", ""):
        said = answer.json()
        assert said["responseCode"] != 1
        assert said["message"]
    else:
        # wrong credentials at the Handle API, or a page for people
        assert not answer.content or "html" in answer.headers["content-type"]


def sent(  # noqa: PLR0917 — a request has these parts
    house: Served, role: str, method: str, path: str, body: Any = None, kind: str = "", **more: str
) -> Any:
    headers = house.header(role) | ({"content-type": kind} if kind else {}) | more
    return house.plain.request(method, path, content=body, headers=headers)


# bodies

DEEP = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
BODIES: dict[str, bytes] = {
    "half": b'[{"index":1,',
    "a word": b"nul",
    "not UTF-8": b'[{"index":1,"type":"URL","data":"\xc3\x28"}]',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf[]",
    "deep": DEEP,
    "deep lists": b"[" * 3_000 + b"]" * 3_000,
    "deep and open": b"[" * 100_000,
    "a member twice": b'[{"index":1,"index":2,"type":"URL","data":"x"}]',
    "not a number": b'[{"index":1,"type":"URL","data":"x","ttl":NaN}]',
    "endless": b'[{"index":1,"type":"URL","data":"x","ttl":1e999}]',
    "a long number": b"[" + b"9" * 5_000 + b"]",
    "half a surrogate": rb'[{"index":1,"type":"URL","data":"\ud800"}]',
    "a NUL": b'{"a":"\x00"}',
    "too large": b'"' + b"a" * 4_300_000 + b'"',
    "null": b"null",
    "a form": b"a=b&c=%ZZ",
    "protobuf": b"\x0a\xff\xff\xff\xff\x0f",
    "a list of lists": b"[[[]]]",
    "many": b"[" + b"{}," * 3_000 + b"{}]",
}
READS_BODIES = (
    ("PUT", NEW),
    ("PUT", f"{NEW}?index=various"),
    ("POST", "/federation/v1/join"),
    ("POST", "/federation/v1/renew"),
    ("POST", "/auth/token"),
    ("POST", "/auth/password"),
    ("POST", "/accounts"),
    ("PATCH", f"/accounts/spare@{OWN}"),
)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("door", READS_BODIES, ids=" ".join)
def test_a_broken_body_is_refused_for_what_it_is(house, door, body):
    check_refusal(sent(house, "admin", *door, BODIES[body], JSON))


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "multipart/form-data; boundary=x", "application/xml", "json", ";;;="]
)
@pytest.mark.parametrize("door", READS_BODIES, ids=" ".join)
def test_a_body_of_a_foreign_kind_is_refused(house, door, kind):
    check_refusal(sent(house, "admin", *door, b"<a/>", kind))


@pytest.mark.parametrize(
    "body", ["a word", "deep", "not UTF-8", "too large", "a member twice", "many", "null"]
)
def test_a_broken_body_of_a_question_is_refused(house, body):
    check_refusal(sent(house, ANONYMOUS, "POST", f"/api/handles/{HANDLE}", BODIES[body], JSON))


def test_a_body_in_an_encoding_is_not_unpacked(house):
    """Nothing is decompressed, so nothing small becomes large."""
    check_refusal(
        sent(house, "admin", "PUT", NEW, b"\x1f\x8b\x08\x00" * 10, JSON, **{"content-encoding": "gzip"})
    )


def test_a_refused_body_names_the_mistake_in_both_languages(house):
    answer = sent(house, "admin", "POST", "/auth/token", BODIES["a member twice"].strip(b"[]"), JSON)
    assert "index" in answer.json()["detail_zh"]
    assert "index" in answer.json()["detail_en"]
    english = sent(house, "admin", "PUT", NEW, BODIES["a member twice"], JSON, **{"accept-language": "en"})
    chinese = sent(house, "admin", "PUT", NEW, BODIES["a member twice"], JSON, **{"accept-language": "zh"})
    assert "twice" in english.json()["message"]
    assert "两次" in chinese.json()["message"]


def test_a_chunked_body_without_end_is_cut_at_the_limit(house):
    def pieces() -> Any:
        for _ in range(200):
            yield b"x" * 65_536

    # refused while it is still being sent: the connection is closed on it, before or after the answer is read
    with suppress(httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        check_refusal(sent(house, "admin", "PUT", NEW, pieces(), JSON), 413, 400)
    assert sent(house, ANONYMOUS, "GET", "/health/live").status_code == 200


# batches


def a_batch(count: int, name: str = HANDLE) -> bytes:
    return resolver_pb2.BatchResolveRequest(identifiers=[name] * count).SerializeToString()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (a_batch(2_001), PROTOBUF, 413),
        (a_batch(0), PROTOBUF, 400),
        (a_batch(1), JSON, 400),
        (a_batch(1), "", 400),
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"\x0a\x02\xff\xfe", PROTOBUF, 400),
        (b"\x0a\xff\xff\xff\xff\x0f", PROTOBUF, 400),
        (b"\x0a" * 1_100_000, PROTOBUF, 413),
    ],
    ids=[
        "2,001",
        "none",
        "as JSON",
        "as nothing",
        "no message",
        "not UTF-8",
        "too long a field",
        "too large",
    ],
)
@pytest.mark.parametrize("role", [ANONYMOUS, "reader"])
def test_a_batch_that_cannot_be_answered_is_refused(house, role, body, kind, status):
    check_refusal(sent(house, role, "POST", "/resolver/v1/batch", body, kind), status)


def test_a_bad_line_of_a_batch_does_not_hold_up_the_others(house):
    names = ["", "/", "x" * 5_000, "88..1/x", "a\0b", HANDLE]
    body = resolver_pb2.BatchResolveRequest(identifiers=names).SerializeToString()
    answer = sent(house, ANONYMOUS, "POST", "/resolver/v1/batch", body, PROTOBUF)
    replies = resolver_pb2.BatchResolveReply.FromString(answer.content).replies
    assert [reply.outcome for reply in replies[:5]] == [resolver_pb2.OUTCOME_FAILED] * 5
    assert all(reply.error.message_zh and reply.error.message_en for reply in replies[:5])
    assert replies[5].outcome == resolver_pb2.OUTCOME_FOUND


# paths and parameters

SPELLINGS = (
    "%", "%ZZ", "%0", "%00", "a%00b", "88.107.1001/a%00", "%FF", "88.107.1001/%C3%28", "88.107.1001/%ED%A0%80",
    "88.107.1001/", "88..1/x", ".88/x", "88./x", "%2F", "88.107.1001/%0d%0aSet-Cookie:%20x=y", "88.107.1001/%7F",
    "8" * 65 + "/x", "88.107.1001/" + "a" * 256, "88.107.1001/" + "%F0%9F%98%80" * 70, "0.NA/88..1", "%E2%80%AE/x",
    "88.107.1001%20/x", "８８.107/x".encode().decode("latin-1"),
)  # fmt: skip


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json"])
@pytest.mark.parametrize("door", ["/api/handles/", "/id/"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_malformed_identifier_is_refused_at_every_path(house, spelling, door, accept):
    status, headers, text = plain_get(house, door + spelling, accept)
    assert status in (400, 404)
    assert "set-cookie" not in headers
    assert not [word for word in _INSIDE if word in text]


def plain_get(house: Served, target: str, accept: str = "*/*") -> tuple[int, dict[str, str], str]:
    """Ask with the target exactly as it is written, which no client library would send."""
    head = f"GET {target} HTTP/1.1\r\nhost: node.test\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    answer = talked(house, head.encode("latin-1")).decode("utf-8", "replace")
    top, _, body = answer.partition("\r\n\r\n")
    lines = top.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split(" ")[1]), headers, body


def talked(house: Served, data: bytes, *, patience: float = 10.0) -> bytes:
    """Send bytes and return what comes back until the connection is closed, or nothing more comes."""
    host, port = house.http.removeprefix("http://").split(":")
    out = b""
    with socket.create_connection((host, int(port)), timeout=patience) as connection:
        connection.sendall(data)
        try:
            while part := connection.recv(65_536):
                out += part
        except (TimeoutError, ConnectionResetError):
            pass
    return out


@pytest.mark.parametrize(
    "door", ["/api/handles/88.107.1001/", "/id/88.107.1001/", "/", "/accounts/", "/hrls/handles/"]
)
def test_an_over_long_path_is_refused(house, door):
    check_refusal(sent(house, "admin", "GET", door + "a" * 9_000), 413, 400)
    check_refusal(sent(house, "admin", "GET", door + "x?" + "a=b&" * 3_000), 413, 400)


PARAMETERS = (
    "index=0", "index=-1", "index=x", "index=4294967296", "index=99999999999999999999", "index=%00", "index=various",
    "publicOnly=maybe", "auth=2", "recurse=%FF", "cert=%00",
)  # fmt: skip
LISTING = (
    "page=-1",
    "page=x",
    "pageSize=1001",
    "page=99999999999",
    "prefix=88..1",
    "prefix=%FF",
    "prefix=%00",
)
SEARCHING = (
    "limit=0", "limit=10001", "page=10000&limit=10000", "URL=a&URL=b", "", "URL=" + "x" * 256,
    "&".join(f"T{n}=*" for n in range(9)),
)  # fmt: skip


@pytest.mark.parametrize(
    "target",
    [
        *(f"/api/handles/{HANDLE}?{given}" for given in PARAMETERS),
        *(f"/api/handles?prefix={OWN}&{given}" for given in LISTING),
        *(f"/hrls/handles/{OWN}?{given}" for given in SEARCHING),
        "/accounts",
        "/accounts?prefix=88..1",
        "/accounts?prefix=" + "8" * 71,
        f"/accounts/events?prefix={OWN}&limit=0",
        f"/accounts/events?prefix={OWN}&limit=99999999999999999999999",
        "/federation/v1/delegations/88..1",
        "/federation/v1/join/" + "x" * 4_000,
        f"/id/{HANDLE}?linkType=%00",
        f"/id/{HANDLE}?linkType=" + "x" * 3_000,
    ],
)
def test_a_parameter_out_of_its_range_is_refused(house, target):
    check_refusal(sent(house, "admin", "GET", target))


# who is asking


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


# gRPC


def called(
    house: Served, method: str, data: bytes, metadata: tuple[tuple[str, Any], ...] = ()
) -> tuple[grpc.StatusCode, str, dict[str, bytes]]:
    """Send bytes; return how the call ended, its details and its trailing metadata."""
    call = house.plain_channel.stream_stream(method)(iter([data]), metadata=metadata, timeout=20)
    try:
        next(call, None)
    except grpc.RpcError as error:
        trailing = {item.key: item.value for item in error.trailing_metadata() or ()}
        return error.code(), error.details() or "", trailing
    finally:
        call.cancel()
    return grpc.StatusCode.OK, "", {}


BROKEN = (b"\xff\xff\xff", b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x0b" * 200)
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


@pytest.mark.parametrize("role", [ANONYMOUS, "admin"])
@pytest.mark.parametrize("method", sorted({row.door for row in RPCS}))
def test_broken_protobuf_is_a_mistake_of_the_caller(house, method, role):
    for data in BROKEN:
        status, details, _ = called(house, method, data, house.metadata(role))
        if status is grpc.StatusCode.OK and method.endswith(("/StreamResolve", ".Health/List")):
            continue  # told in the answer of that question; or a field that this message does not have
        assert status in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAUTHENTICATED), (data, details)
        zh, _, en = details.partition("\n")
        assert zh
        assert en
        assert zh != en


def test_what_a_stranger_sends_is_not_read_before_the_stranger_is_known(house):
    status, _, _ = called(house, f"{_REGISTRY}Register", b"\xff\xff\xff")
    assert status is grpc.StatusCode.UNAUTHENTICATED


_MOST = 2**64 - 1


def a_draft(**value: Any) -> Any:
    made = resolver_pb2.Value(**({"index": 1, "type": "URL", "data": b"x"} | value))
    return registry_pb2.Draft(identifier=f"{OWN}/FROM-GARBAGE", values=[made])


def registered(draft: Any, **options: Any) -> tuple[str, Any]:
    return f"{_REGISTRY}Register", registry_pb2.RegisterRequest(draft=draft, **options)


_SCOPED = resolver_pb2.Visibility
_MANY_NAMES = [HANDLE] * 2_001
CALLS: dict[str, tuple[str, Any]] = {
    "no draft": registered(registry_pb2.Draft()),
    "another prefix": registered(registry_pb2.Draft(identifier="88.107.10019/X")),
    "no value": registered(registry_pb2.Draft(identifier=f"{OWN}/X", values=[resolver_pb2.Value()])),
    "unknown kind": registered(registry_pb2.Draft(identifier=f"{OWN}/X", kind="\0")),
    "unknown fields": registered(
        registry_pb2.Draft(identifier=f"{OWN}/X", kind="batch", fields={"\0": "\0"})
    ),
    "unknown choice": registered(a_draft(), if_present=9),
    "expected far away": registered(a_draft(), expected_version=_MOST),
    "index 0": registered(a_draft(index=0)),
    "negative ttl": registered(a_draft(ttl=-1)),
    "permissions": registered(a_draft(permissions=99)),
    "unknown scope": registered(a_draft(visibility=_SCOPED(scope=7))),
    "scope without prefixes": registered(a_draft(visibility=_SCOPED(scope=2))),
    "too large": registered(a_draft(data=b"x" * 70_000)),
    "index twice": registered(registry_pb2.Draft(identifier=f"{OWN}/X", values=[*a_draft().values] * 2)),
    "2,001 drafts": (
        f"{_REGISTRY}BatchRegister",
        registry_pb2.BatchRegisterRequest(drafts=[a_draft()] * 2_001),
    ),
    "unknown mode": (f"{_REGISTRY}SetValues", registry_pb2.SetValuesRequest(identifier=HANDLE, mode=77)),
    "tombstone by hand": (
        f"{_REGISTRY}SetValues",
        registry_pb2.SetValuesRequest(
            identifier=HANDLE, values=a_draft(index=500, type="HZ_TOMBSTONE").values
        ),
    ),
    "unknown index": (
        f"{_REGISTRY}RemoveValues",
        registry_pb2.RemoveValuesRequest(identifier=HANDLE, indexes=[9]),
    ),
    "no reason": (f"{_REGISTRY}Withdraw", registry_pb2.WithdrawRequest(identifier=HANDLE)),
    "long reason": (
        f"{_REGISTRY}Delete",
        registry_pb2.WithdrawRequest(identifier=HANDLE, reason="x" * 9_000),
    ),
    "page of a billion": (f"{_REGISTRY}List", registry_pb2.ListRequest(prefix=OWN.key, page_size=2**32 - 1)),
    "long token": (f"{_REGISTRY}List", registry_pb2.ListRequest(prefix=OWN.key, page_token="x" * 5_000)),
    "no pattern": (f"{_REGISTRY}Search", registry_pb2.SearchRequest(prefix=OWN.key)),
    "long pattern": (
        f"{_REGISTRY}Search",
        registry_pb2.SearchRequest(prefix=OWN.key, patterns={"URL": "*" * 999}),
    ),
    "broken token": (
        f"{_REGISTRY}Search",
        registry_pb2.SearchRequest(patterns={"URL": "*"}, page_token="\0/\0"),
    ),
    "history page": (
        f"{_REGISTRY}History",
        registry_pb2.HistoryRequest(identifier=HANDLE, page_size=2**32 - 1),
    ),
    "2,001 names": (f"{_RESOLVER}BatchResolve", resolver_pb2.BatchResolveRequest(identifiers=_MANY_NAMES)),
    "no names": (f"{_RESOLVER}BatchResolve", resolver_pb2.BatchResolveRequest()),
    "watch nothing": (f"{_RESOLVER}Watch", resolver_pb2.WatchRequest()),
    "watch 2,001": (f"{_RESOLVER}Watch", resolver_pb2.WatchRequest(identifiers=_MANY_NAMES)),
    "watch elsewhere": (f"{_RESOLVER}Watch", resolver_pb2.WatchRequest(identifiers=["99.1/x"])),
    "too many hops": (
        f"{_RESOLVER}Resolve",
        resolver_pb2.ResolveRequest(identifier="x" * 100_000, hops=2**32 - 1),
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_that_makes_no_sense_is_refused_by_name_in_both_languages(house, case):
    method, request = CALLS[case]
    status, details, trailing = called(house, method, request.SerializeToString(), house.metadata("admin"))
    assert status in _REFUSALS, (status, details)
    told = resolver_pb2.Error.FromString(trailing["hazlink-error-bin"])
    assert details == f"{told.message_zh}\n{told.message_en}"
    assert told.message_zh != told.message_en
    assert not [word for word in _INSIDE if word in details]


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, _MOST])
def test_a_number_no_database_holds_finds_nothing(house, number):
    request = registry_pb2.HistoryRequest(identifier=HANDLE, after=number)
    status, details, _ = called(
        house, f"{_REGISTRY}History", request.SerializeToString(), house.metadata("admin")
    )
    assert status in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), details


NAMES = (
    "",
    " ",
    "/",
    "x" * 300,
    "x" * 100_000,
    "88..1/x",
    "a\0b",
    f"{OWN}/\u202e",
    "0.NA/88..",
    f"{OWN}/ＰＵＭＰ",
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_malformed_identifier_is_refused_by_every_rpc(house, name):
    admin = house.metadata("admin")
    for method, request in (
        (
            "Register",
            registry_pb2.RegisterRequest(draft=registry_pb2.Draft(identifier=name, fields={"NAME": "x"})),
        ),
        ("SetValues", registry_pb2.SetValuesRequest(identifier=name, values=a_draft().values)),
        ("RemoveValues", registry_pb2.RemoveValuesRequest(identifier=name, indexes=[1])),
        ("Withdraw", registry_pb2.WithdrawRequest(identifier=name, reason="x")),
        ("Delete", registry_pb2.WithdrawRequest(identifier=name, reason="x")),
        ("List", registry_pb2.ListRequest(prefix=name)),
        ("Search", registry_pb2.SearchRequest(prefix=name or "/", patterns={"URL": "*"})),
    ):
        status, details, _ = called(house, _REGISTRY + method, request.SerializeToString(), admin)
        assert status in _REFUSALS, (method, status, details)
    for method, question in (
        ("Resolve", resolver_pb2.ResolveRequest(identifier=name)),
        ("Watch", resolver_pb2.WatchRequest(identifiers=[name])),
    ):
        if name.endswith(("\u202e", "ＰＵＭＰ")) or name == " ":
            continue  # may be asked for, though never registered; or watched for ever
        status, details, _ = called(house, _RESOLVER + method, question.SerializeToString())
        assert status in _REFUSALS, (method, status, details)


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-note", "y" * 30_000),),
        (("x-note-bin", b"\0" * 40_000),),
        (("authorization", "Bearer " + "y" * 30_000),),
    ],
    ids=["text", "bytes", "credentials"],
)
def test_huge_metadata_is_refused(house, metadata):
    status, _, _ = called(house, f"{_RESOLVER}Resolve", b"\x0a\x031/1", metadata)
    assert status in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED)


def test_a_huge_message_is_refused_and_the_next_call_answered(house):
    status, _, _ = called(house, f"{_REGISTRY}BatchRegister", b"\x0a" * 5_000_000, house.metadata("admin"))
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    question = resolver_pb2.ResolveRequest(identifier=HANDLE).SerializeToString()
    assert called(house, f"{_RESOLVER}Resolve", question)[0] is grpc.StatusCode.OK


# the line itself

LINES = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "no version": b"GET /\r\n\r\n",
    "a foreign version": b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a broken header": b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
    "two lengths": b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length that is none": b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: two\r\n\r\n{}",
    "length and chunks": (
        b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a broken chunk": b"POST /auth/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("line", LINES)
def test_what_is_no_http_is_refused_and_the_door_stays_open(house, line):
    answer = talked(house, LINES[line], patience=1.0)
    assert answer.split(b" ")[1][:1] == b"4", answer[:200]
    assert b"Traceback" not in answer
    assert sent(house, ANONYMOUS, "GET", "/health/live").status_code == 200


@pytest.fixture
def hurried(tmp_path, monkeypatch):
    monkeypatch.setattr(node.edge, "_BODY_SECONDS", 0.2)
    monkeypatch.setattr("resolver.hot_routes._BODY_SECONDS", 0.1)
    monkeypatch.setattr(node.doors, "_HEAD_SECONDS", 0.2)
    with served(tmp_path / "hurried") as made:
        yield made


@pytest.mark.parametrize(
    "head",
    [
        b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
        b"POST /resolver/v1/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\nx",
        b"PUT /api/handles/88.107.1001/X HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-slow: ",
        b"GET /health",
        b"",
    ],
    ids=["body", "batch", "chunk", "header", "path", "a dash"],
)
def test_a_request_that_does_not_come_is_not_waited_for(hurried, head):
    began = SystemClock().monotonic()
    answer = talked(hurried, head, patience=10.0)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert SystemClock().monotonic() - began < 5
    if b"\r\n\r\n" in head:
        said = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert "message" in said or said["status"] == 408


def test_whoever_asks_now_and_then_on_one_connection_is_served(hurried):
    for _ in range(6):
        assert hurried.plain.get("/health/live").status_code == 200
        time.sleep(0.15)


# the other database, which minds texts that the first one does not

NULS = (
    ("GET", "/federation/v1/join/a%00b", b""),
    ("GET", "/federation/v1/delegations/88%00", b""),
    ("GET", f"/api/handles/{HANDLE}?type=a%00b", b""),
    ("GET", f"/api/handles/{OWN}/a%00b", b""),
    ("GET", f"/api/handles?prefix={OWN}%00", b""),
    ("GET", f"/hrls/handles/{OWN}?URL=a%00b", b""),
    ("GET", f"/hrls/handles/{OWN}?a%00b=*", b""),
    ("GET", f"/id/{OWN}/a%00b", b""),
    ("GET", f"/accounts?prefix={OWN}%00", b""),
    ("PUT", NEW, rb'[{"index":1,"type":"A\u0000B","data":"x"}]'),
    ("PUT", NEW, rb'[{"index":1,"type":"URL","data":"a\u0000b"}]'),
    ("PUT", NEW, rb'[{"index":1,"type":"URL","data":"x","references":[{"handle":"\u0000","index":1}]}]'),
    ("DELETE", f"{NEW}?reason=a%00b&replacedBy=a%00b", b""),
    ("DELETE", f"{NEW}?reason=a%00b", b""),
    ("POST", "/auth/token", rb'{"username":"a\u0000@88","password":"\u0000"}'),
    ("POST", "/accounts", rb'{"name":"a\u0000@88.107.1001","kind":"system","roles":[]}'),
    ("PATCH", f"/accounts/a%00@{OWN}", b'{"enabled":true}'),
    ("POST", f"/accounts/a%00@{OWN}", b"{}"),
)


@pytest.mark.postgres
def test_a_nul_is_refused_or_kept_but_never_a_fault_over_postgresql_too(tmp_path, postgres_server):
    where = {"database_url": a_postgres_url(postgres_server)}
    with served(tmp_path / "postgres", storage=where) as house:
        for method, path, body in NULS:
            answer = sent(house, "admin", method, path, body, JSON if body else "")
            assert answer.status_code < 500, (method, path, body, answer.text)
            assert not [word for word in _INSIDE if word in answer.text]
        for method, request in CALLS.values():
            status, details, _ = called(house, method, request.SerializeToString(), house.metadata("admin"))
            assert status in _REFUSALS, (method, status, details)
        for token in ("\0", f"{OWN}/\0"):
            for name, message in (
                ("List", registry_pb2.ListRequest(prefix=OWN.key, page_token=token)),
                ("Search", registry_pb2.SearchRequest(patterns={"\0": "\0"}, page_token=token)),
            ):
                status, _, _ = called(
                    house, _REGISTRY + name, message.SerializeToString(), house.metadata("admin")
                )
                assert status is grpc.StatusCode.OK or status in _REFUSALS
