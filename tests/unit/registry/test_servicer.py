from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import grpc
import pytest

from proto import registry_pb2 as pb
from proto import resolver_pb2
from registry.access import needs
from registry.errors import ForbiddenError, InternalError, UnauthenticatedError
from registry.identifier import Prefix
from registry.principal import ANONYMOUS, Grant, Operation, Principal, Role
from registry.servicer import ACCESS, MAX_BATCH, SERVICE, RegistryServicer
from resolver.servicer_guard import Guard
from tests.support.importing import a_registry

PREFIX = "88.107.1001"
METHODS = {
    "Register": (pb.RegisterRequest, pb.Result),
    "BatchRegister": (pb.BatchRegisterRequest, pb.BatchResult),
    "SetValues": (pb.SetValuesRequest, pb.Result),
    "RemoveValues": (pb.RemoveValuesRequest, pb.Result),
    "Withdraw": (pb.WithdrawRequest, pb.Result),
    "Delete": (pb.WithdrawRequest, pb.Result),
    "List": (pb.ListRequest, pb.ListReply),
    "Search": (pb.SearchRequest, pb.ListReply),
    "History": (pb.HistoryRequest, pb.HistoryReply),
}
ACETONE = pb.Draft(
    identifier=f"{PREFIX}/S-1",
    kind="substance",
    fields={"NAME_ZH": "丙酮", "CAS_NO": "67-64-1", "ERP_NO": "ERP-7"},
)


class Names:
    """Authenticates whoever says `Bearer <role>@<prefix>`."""

    async def authenticate(self, credentials):
        if credentials.authorization is None:
            return ANONYMOUS
        role, _, prefix = credentials.authorization.removeprefix("Bearer ").partition("@")
        try:
            grant = Grant(Prefix.parse(prefix), Role(role))
        except ValueError:
            raise UnauthenticatedError(
                "registry.access.login_needed", operation="session", prefix="*"
            ) from None
        return Principal(f"{role}@{prefix}", frozenset({grant}))


class Door:
    def __init__(self, channel):
        self._calls = {
            name: channel.unary_unary(f"/{SERVICE}/{name}", request_serializer=request.SerializeToString, response_deserializer=reply.FromString)
            for name, (request, reply) in METHODS.items()
        }  # fmt: skip

    async def __call__(self, name, request, who=f"admin@{PREFIX}"):
        metadata = [("authorization", f"Bearer {who}")] if who else None
        return await self._calls[name](request, metadata=metadata)

    async def refused(self, name, request, who=f"admin@{PREFIX}"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self(name, request, who)
        error = caught.value
        trailing = dict(error.trailing_metadata())
        told = resolver_pb2.Error.FromString(trailing["hazlink-error-bin"])
        assert error.details() == f"{told.message_zh}\n{told.message_en}"
        return error.code().name, told.kind, trailing.get("hazlink-field-bin", b"").decode()


@asynccontextmanager
async def opened(path):
    registry, database = a_registry(path / "node.db")
    server = grpc.aio.server()
    guard = Guard(access=ACCESS, authenticator=Names(), tls=False)
    with ThreadPoolExecutor(2) as executor:
        RegistryServicer(registry=registry, executor=executor).add_to(guard)
        server.add_generic_rpc_handlers((guard,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Door(channel)
        await server.stop(0)
    database.close()


@pytest.fixture
async def door(tmp_path):
    async with opened(tmp_path) as made:
        yield made


def test_every_method_of_the_contract_is_declared_and_served():
    contract = pb.DESCRIPTOR.services_by_name["Registry"]
    assert {f"/{contract.full_name}/{m.name}" for m in contract.methods} == set(ACCESS)
    assert set(METHODS) == {m.name for m in contract.methods}
    assert ACCESS[f"/{SERVICE}/Register"] == needs(Operation.RECORD_WRITE)
    for rule in ACCESS.values():
        with pytest.raises(UnauthenticatedError):
            rule.admit(ANONYMOUS)


async def test_a_record_is_registered_confirmed_refused_and_replaced(door):
    first = await door("Register", pb.RegisterRequest(draft=ACETONE))
    assert (first.identifier, first.done, first.version) == (f"{PREFIX}/S-1", pb.DONE_CREATED, 1)
    again = await door("Register", pb.RegisterRequest(draft=ACETONE))
    assert (again.done, again.version) == (pb.DONE_UNCHANGED, 1)
    other = pb.Draft()
    other.CopyFrom(ACETONE)
    other.fields["NAME_EN"] = "acetone"
    assert await door.refused("Register", pb.RegisterRequest(draft=other)) == (
        "ALREADY_EXISTS",
        "exists",
        "identifier",
    )
    replaced = await door(
        "Register", pb.RegisterRequest(draft=other, if_present="IF_PRESENT_REPLACE", expected_version=1)
    )
    assert (replaced.done, replaced.version) == (pb.DONE_CHANGED, 2)
    stale = pb.RegisterRequest(draft=ACETONE, if_present="IF_PRESENT_REPLACE", expected_version=1)
    assert (await door.refused("Register", stale))[:2] == ("ABORTED", "conflict")


async def test_a_batch_goes_on_past_bad_lines(door):
    bad = pb.Draft(identifier=f"{PREFIX}/S-2", kind="substance", fields={"NAME_ZH": "x", "CAS_NO": "67-64-2"})
    unreadable = pb.Draft(identifier=f"{PREFIX}/S-3", values=[resolver_pb2.Value(type="URL")])
    foreign = pb.Draft(identifier="88.107.1002/S-1", fields={"URL": "https://example.com"})
    drafts = [unreadable, ACETONE, bad, foreign]
    dry = await door("BatchRegister", pb.BatchRegisterRequest(drafts=drafts, dry_run=True))
    reply = await door("BatchRegister", pb.BatchRegisterRequest(drafts=drafts))
    for results in (dry.results, reply.results):
        assert [r.identifier for r in results] == [d.identifier for d in drafts]
        assert [r.done for r in results] == [
            pb.DONE_REFUSED,
            pb.DONE_CREATED,
            pb.DONE_REFUSED,
            pb.DONE_REFUSED,
        ]
        assert [r.field for r in results[:3]] == ["values[0].index", "", "fields.CAS_NO"]
        assert "67-64-1" in results[2].error.message_en
        assert results[3].error.kind == "not-responsible"
    again = await door("BatchRegister", pb.BatchRegisterRequest(drafts=[ACETONE]))
    assert again.results[0].done == pb.DONE_UNCHANGED


async def test_a_batch_has_a_limit(door):
    request = pb.BatchRegisterRequest(drafts=[ACETONE] * (MAX_BATCH + 1))
    assert await door.refused("BatchRegister", request) == ("RESOURCE_EXHAUSTED", "limit", "drafts")


async def test_values_are_set_added_modified_and_removed(door):
    await door("Register", pb.RegisterRequest(draft=ACETONE))
    here = f"{PREFIX}/S-1"
    changed = await door("SetValues", pb.SetValuesRequest(identifier=here, fields={"NAME_EN": "acetone"}))
    assert (changed.done, changed.version) == (pb.DONE_CHANGED, 2)
    url = resolver_pb2.Value(index=1, type="URL", data=b"https://example.com")
    added = pb.SetValuesRequest(identifier=here, values=[url], mode="MODE_ADD")
    assert (await door("SetValues", added)).version == 3
    assert (await door.refused("SetValues", added))[:2] == ("ALREADY_EXISTS", "value-exists")
    missing = pb.SetValuesRequest(identifier=here, fields={"FORMULA": "C3H6O"}, mode="MODE_MODIFY")
    assert (await door.refused("SetValues", missing))[:2] == ("NOT_FOUND", "value-not-found")
    removed = await door(
        "RemoveValues", pb.RemoveValuesRequest(identifier=here, indexes=[1], expected_version=3)
    )
    assert removed.version == 4
    assert (await door.refused("RemoveValues", pb.RemoveValuesRequest(identifier=here, indexes=[1])))[
        0
    ] == "NOT_FOUND"
    wrong = pb.SetValuesRequest(identifier=here, fields={"FLASH_POINT": "-18"})
    assert (await door.refused("SetValues", wrong))[:2] == ("INVALID_ARGUMENT", "invalid-value")


async def test_a_record_is_withdrawn_and_deleted_with_reason_and_heir(door):
    await door("Register", pb.RegisterRequest(draft=ACETONE))
    here = f"{PREFIX}/S-1"
    assert (await door.refused("Withdraw", pb.WithdrawRequest(identifier=here)))[0] == "INVALID_ARGUMENT"
    request = pb.WithdrawRequest(identifier=here, reason="召回", replaced_by=[f"{PREFIX}/S-9"])
    assert (await door("Withdraw", request)).version == 2
    assert (await door.refused("SetValues", pb.SetValuesRequest(identifier=here, fields={"NAME_EN": "x"})))[
        1
    ] == "gone"
    assert (await door("Delete", pb.WithdrawRequest(identifier=here, reason="错误登记"))).version == 3
    assert (await door.refused("Delete", pb.WithdrawRequest(identifier=f"{PREFIX}/X", reason="x")))[
        0
    ] == "NOT_FOUND"


async def test_lists_and_searches_come_in_pages(door):
    drafts = [
        pb.Draft(
            identifier=f"{PREFIX}/B-{n}", kind="substance", fields={"NAME_ZH": "丙酮", "ERP_NO": f"ERP-{n}"}
        )
        for n in range(5)
    ]
    await door("BatchRegister", pb.BatchRegisterRequest(drafts=drafts))
    for name, request in (
        ("List", pb.ListRequest(prefix=PREFIX, page_size=2)),
        ("Search", pb.SearchRequest(prefix=PREFIX, patterns={"ERP_NO": "erp-*"}, page_size=2)),
        ("Search", pb.SearchRequest(patterns={"NAME_ZH": "丙*"}, page_size=2)),
    ):
        seen = []
        while True:
            page = await door(name, request)
            seen += page.identifiers
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert seen == [d.identifier for d in drafts]
    alias = await door("Search", pb.SearchRequest(prefix=PREFIX, patterns={"ERP_NO": "ERP-3"}))
    assert list(alias.identifiers) == [f"{PREFIX}/B-3"]
    assert (await door.refused("List", pb.ListRequest(prefix=PREFIX, page_size=1001)))[2] == "page_size"
    assert (await door.refused("List", pb.ListRequest(prefix=PREFIX, page_token="x" * 2000)))[
        2
    ] == "page_token"
    assert (await door.refused("List", pb.ListRequest(prefix="88..1")))[1] == "malformed-identifier"


async def test_the_history_tells_before_and_after_without_salts(door):
    await door("Register", pb.RegisterRequest(draft=ACETONE))
    await door("SetValues", pb.SetValuesRequest(identifier=ACETONE.identifier, fields={"NAME_EN": "acetone"}))
    reply = await door("History", pb.HistoryRequest(identifier=ACETONE.identifier))
    first, second = reply.entries
    assert (first.who, first.action, second.action) == (f"admin@{PREFIX}", "register", "set")
    assert not first.HasField("before")
    assert [v.type for v in second.after.values if v.type == "NAME_EN"] == ["NAME_EN"]
    assert first.after.values == second.before.values
    assert all(v.salt == b"" for e in reply.entries for v in (*e.before.values, *e.after.values))


async def test_nobody_writes_or_lists_without_the_right_to_at_that_prefix(door):
    requests = {
        "Register": pb.RegisterRequest(draft=ACETONE),
        "SetValues": pb.SetValuesRequest(identifier=ACETONE.identifier, fields={"NAME_EN": "x"}),
        "RemoveValues": pb.RemoveValuesRequest(identifier=ACETONE.identifier, indexes=[1]),
        "Withdraw": pb.WithdrawRequest(identifier=ACETONE.identifier, reason="x"),
        "Delete": pb.WithdrawRequest(identifier=ACETONE.identifier, reason="x"),
        "List": pb.ListRequest(prefix=PREFIX),
        "Search": pb.SearchRequest(prefix=PREFIX, patterns={"URL": "*"}),
        "History": pb.HistoryRequest(identifier=ACETONE.identifier),
    }
    for name, request in requests.items():
        assert (await door.refused(name, request, who=None))[0] == "UNAUTHENTICATED", name
        assert (await door.refused(name, request, who="admin@88.107"))[0] == "PERMISSION_DENIED", name
        assert (await door.refused(name, request, who="node@88"))[0] == "PERMISSION_DENIED", name
    assert (await door.refused("List", requests["List"], who="nobody@88"))[0] == "UNAUTHENTICATED"


async def test_numbers_outside_the_contract_are_refused(door):
    odd = pb.RegisterRequest.FromString(pb.RegisterRequest(draft=ACETONE).SerializeToString() + b"\x10\x09")
    assert (await door.refused("Register", odd))[2] == "if_present"
    odd_mode = pb.SetValuesRequest.FromString(
        pb.SetValuesRequest(identifier=ACETONE.identifier).SerializeToString() + b"\x20\x09"
    )
    assert (await door.refused("SetValues", odd_mode))[2] == "mode"


class Failing:
    """A registry that makes a mistake."""

    def register(self, *_args, **_options):
        raise InternalError("registry.identifier.not_utf8")

    def list(self, *_args, **_options):
        raise RuntimeError("secret path")


async def test_a_mistake_of_the_node_is_told_in_short_and_logged_in_full(caplog):
    server = grpc.aio.server()
    guard = Guard(access=ACCESS, authenticator=Names(), tls=False)
    with ThreadPoolExecutor(1) as executor:
        RegistryServicer(registry=Failing(), executor=executor).add_to(guard)
        server.add_generic_rpc_handlers((guard,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            door = Door(channel)
            assert (await door.refused("Register", pb.RegisterRequest(draft=ACETONE)))[:2] == (
                "INTERNAL",
                "internal",
            )
            assert (await door.refused("List", pb.ListRequest(prefix=PREFIX)))[:2] == ("INTERNAL", "internal")
        await server.stop(0)
    assert "secret path" in caplog.text


def test_a_refusal_is_an_error_of_the_vocabulary():
    with pytest.raises(ForbiddenError):
        ACCESS[f"/{SERVICE}/List"].admit(Principal("node", frozenset({Grant(Prefix.parse("88"), Role.NODE)})))
