"""Garbage over HTTP at a running node: refused with a reason in two languages, never with a fault of ours."""

from contextlib import suppress
from typing import Any

import httpx
import pytest

from proto import resolver_pb2
from tests.support.garbage import (
    HANDLE,
    INSIDE,
    JSON,
    NEW,
    PROTOBUF,
    a_batch,
    check_refusal,
    fed,
    sent,
    talked,
)
from tests.support.served import ANONYMOUS, OWN, Served


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with fed(tmp_path_factory.mktemp("garbage")) as made:
        yield made


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
    assert not [word for word in INSIDE if word in text]


def plain_get(house: Served, target: str, accept: str = "*/*") -> tuple[int, dict[str, str], str]:
    """Ask with the target exactly as it is written, which no client library would send."""
    head = f"GET {target} HTTP/1.1\r\nhost: node.test\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    answer = talked(house, head.encode("latin-1")).decode("utf-8", "replace")
    top, _, body = answer.partition("\r\n\r\n")
    lines = top.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split(" ")[1]), headers, body


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
