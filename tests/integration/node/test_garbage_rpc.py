"""Garbage over gRPC at a running node: a mistake of the caller, told in two languages, never a fault of ours."""

from typing import Any

import grpc
import pytest

from proto import registry_pb2, resolver_pb2
from tests.support.databases import a_postgres_url
from tests.support.garbage import (
    HANDLE,
    INSIDE,
    JSON,
    NEW,
    REFUSALS,
    called,
    fed,
    sent,
)
from tests.support.role_matrix import RPCS
from tests.support.served import ANONYMOUS, OWN, served

_RESOLVER, _REGISTRY = "/hazlink.resolver.v1.Resolver/", "/hazlink.registry.v1.Registry/"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with fed(tmp_path_factory.mktemp("garbage")) as made:
        yield made


BROKEN = (b"\xff\xff\xff", b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x0b" * 200)


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
    assert status in REFUSALS, (status, details)
    told = resolver_pb2.Error.FromString(trailing["hazlink-error-bin"])
    assert details == f"{told.message_zh}\n{told.message_en}"
    assert told.message_zh != told.message_en
    assert not [word for word in INSIDE if word in details]


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
        assert status in REFUSALS, (method, status, details)
    for method, question in (
        ("Resolve", resolver_pb2.ResolveRequest(identifier=name)),
        ("Watch", resolver_pb2.WatchRequest(identifiers=[name])),
    ):
        if name.endswith(("\u202e", "ＰＵＭＰ")) or name == " ":
            continue  # may be asked for, though never registered; or watched for ever
        status, details, _ = called(house, _RESOLVER + method, question.SerializeToString())
        assert status in REFUSALS, (method, status, details)


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
            assert not [word for word in INSIDE if word in answer.text]
        for method, request in CALLS.values():
            status, details, _ = called(house, method, request.SerializeToString(), house.metadata("admin"))
            assert status in REFUSALS, (method, status, details)
        for token in ("\0", f"{OWN}/\0"):
            for name, message in (
                ("List", registry_pb2.ListRequest(prefix=OWN.key, page_token=token)),
                ("Search", registry_pb2.SearchRequest(patterns={"\0": "\0"}, page_token=token)),
            ):
                status, _, _ = called(
                    house, _REGISTRY + name, message.SerializeToString(), house.metadata("admin")
                )
                assert status is grpc.StatusCode.OK or status in REFUSALS
