"""The gRPC door over a real connection on loopback."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from proto import resolver_pb2 as pb
from proto.resolver_pb2_grpc import ResolverStub
from registry.access import ANYONE, needs
from registry.errors import MalformedIdentifierError, UnavailableError
from registry.principal import Operation
from resolver.answer import Source
from resolver.ports import Change
from resolver.servicer import MAX_WATCHED, SERVICE
from resolver.servicer_guard import address_of, is_loopback
from resolver.servicer_hot import MAX_BATCH
from resolver.servicer_server import GrpcSettings, TlsFiles
from tests.support.doors import (
    Doors,
    FakeResolver,
    OneCallOnly,
    a_certificate,
    a_record,
    a_withdrawn_record,
)

BATCH_1 = "88.107.1001/BATCH-1"
EDITOR_LOGIN = (("authorization", "Bearer editor"),)


def _resolver() -> FakeResolver:
    return FakeResolver(
        [a_record(), a_withdrawn_record(), a_record("88.107.1001/批次-2")],
        errors={
            "bad//": MalformedIdentifierError("registry.identifier.suffix_empty", value="bad//"),
            "down/1": UnavailableError("registry.storage.unavailable", reason="gone", retry_after=2),
            "bug/1": ZeroDivisionError("a secret detail"),  # a mistake of ours
        },
    )


async def test_a_public_answer_leaves_out_what_is_not_public() -> None:
    async with Doors(_resolver()).open() as channel:
        reply = await ResolverStub(channel).Resolve(pb.ResolveRequest(identifier=BATCH_1))

    assert reply.outcome == pb.OUTCOME_FOUND
    assert [v.index for v in reply.record.values] == [2000, 2001]
    assert list(reply.record.withheld) == [2002]
    assert reply.proof.public_jws == "h.p.s"


async def test_the_second_answer_is_the_first_one_kept_with_the_asked_spelling() -> None:
    doors = Doors(_resolver())
    async with doors.open() as channel:
        stub = ResolverStub(channel)
        first = await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))
        second = await stub.Resolve(pb.ResolveRequest(identifier="88.107.1001/batch-1"))

    assert len(doors.resolver.asked) == 1
    assert second.identifier == "88.107.1001/batch-1"
    second.identifier = first.identifier
    assert second == first


async def test_the_editor_sees_more_and_nothing_of_it_is_kept_for_others() -> None:
    async with Doors(_resolver()).open() as channel:
        stub = ResolverStub(channel)
        own = await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1), metadata=EDITOR_LOGIN)
        public = await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))
        again = await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1), metadata=EDITOR_LOGIN)

    assert [v.index for v in own.record.values] == [2000, 2001, 2002]
    assert [v.index for v in public.record.values] == [2000, 2001]
    assert again == own


async def test_a_cached_answer_ages_while_it_is_kept() -> None:
    resolver = _resolver()
    resolver.source, resolver.age, resolver.ttl = Source.CACHED, 5, 100
    doors = Doors(resolver)
    async with doors.open() as channel:
        stub = ResolverStub(channel)
        first = await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))
        doors.clock.time += 30
        second = await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1, tag=9))
        batch = await stub.BatchResolve(pb.BatchResolveRequest(identifiers=[BATCH_1]))
        asked = len(resolver.asked)
        doors.clock.time += 61
        await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))

    assert (first.source, first.age_seconds, first.ttl_seconds) == (pb.SOURCE_CACHED, 5, 100)
    assert (second.age_seconds, second.ttl_seconds, second.tag) == (35, 70, 9)
    assert (batch.replies[0].age_seconds, batch.replies[0].ttl_seconds) == (35, 70)
    assert asked == 1
    assert len(resolver.asked) == 2  # asked again at nine tenths of its life


async def test_what_comes_from_a_cache_is_not_served_to_those_who_forbid_recursion() -> None:
    resolver = _resolver()
    resolver.source = Source.CACHED
    async with Doors(resolver).open() as channel:
        stub = ResolverStub(channel)
        for _ in range(2):
            await stub.BatchResolve(pb.BatchResolveRequest(identifiers=[BATCH_1], no_recursion=True))
            await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1, no_recursion=True))

    assert len(resolver.asked) == 4


@pytest.mark.parametrize(
    "options",
    [{"indexes": [2000]}, {"types": ["CAS_NO"]}, {"authoritative": True}, {"hops": 10}],
    ids=lambda o: next(iter(o)),
)
async def test_special_questions_are_always_asked_of_the_resolver(options: dict[str, Any]) -> None:
    resolver = _resolver()
    async with Doors(resolver).open() as channel:
        stub = ResolverStub(channel)
        await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))
        await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1, **options))
        await stub.BatchResolve(pb.BatchResolveRequest(identifiers=[BATCH_1], **options))

    assert len(resolver.asked) == 3


async def test_answers_with_their_chain_are_kept_apart() -> None:
    resolver = _resolver()
    async with Doors(resolver).open() as channel:
        stub = ResolverStub(channel)
        with_chain = [
            await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1, with_chain=True)) for _ in range(2)
        ]
        without = await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))

    assert [list(reply.proof.chain) for reply in with_chain] == [["leaf", "top"]] * 2
    assert not without.proof.chain
    assert len(resolver.asked) == 2


async def test_an_answer_read_before_a_change_is_not_kept_after_it() -> None:
    resolver = _resolver()
    doors = Doors(resolver)

    async def change_meanwhile() -> None:
        doors.ready.drop(BATCH_1)

    resolver.before_answer = change_meanwhile
    async with doors.open() as channel:
        await ResolverStub(channel).Resolve(pb.ResolveRequest(identifier=BATCH_1))

    assert len(doors.ready) == 0


async def test_a_batch_answers_each_in_order_and_goes_on_past_a_bad_one() -> None:
    asked = [
        BATCH_1,
        "bad//",
        "88.107.1001/nothing",
        "88.107.1001/OLD",
        BATCH_1.lower(),
        "88.107.1001/批次-2",
    ]
    async with Doors(_resolver()).open() as channel:
        stub = ResolverStub(channel)
        cold = await stub.BatchResolve(pb.BatchResolveRequest(identifiers=asked))
        warm = await stub.BatchResolve(pb.BatchResolveRequest(identifiers=asked))

    assert [reply.identifier for reply in cold.replies] == asked
    assert [reply.outcome for reply in cold.replies] == [1, 6, 4, 2, 1, 1]
    assert cold.replies[1].error.kind == "malformed-identifier"
    assert cold.replies[1].error.message_zh
    assert cold.replies[3].tombstone.replaced_by == ["88.107.1001/NEW"]
    assert warm == cold


@pytest.mark.parametrize(
    ("count", "status"),
    [(0, grpc.StatusCode.INVALID_ARGUMENT), (MAX_BATCH + 1, grpc.StatusCode.RESOURCE_EXHAUSTED)],
)
async def test_a_batch_has_one_to_two_thousand_identifiers(count: int, status: grpc.StatusCode) -> None:
    async with Doors(_resolver()).open() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ResolverStub(channel).BatchResolve(pb.BatchResolveRequest(identifiers=[BATCH_1] * count))

    assert refused.value.code() is status


@pytest.mark.parametrize(
    ("identifier", "status", "said"),
    [
        ("bad//", grpc.StatusCode.INVALID_ARGUMENT, "bad//"),
        ("down/1", grpc.StatusCode.UNAVAILABLE, "gone"),
        ("bug/1", grpc.StatusCode.INTERNAL, "log"),
    ],
)
async def test_errors_leave_as_a_status_with_texts_in_both_languages(
    identifier: str, status: grpc.StatusCode, said: str
) -> None:
    async with Doors(_resolver()).open() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ResolverStub(channel).Resolve(pb.ResolveRequest(identifier=identifier))

    error = pb.Error.FromString(dict(refused.value.trailing_metadata())["hazlink-error-bin"])
    assert refused.value.code() is status
    assert said in error.message_en
    assert error.message_zh
    assert "secret detail" not in str(refused.value)


@pytest.mark.parametrize("method", ["Resolve", "BatchResolve", "StreamResolve"])
async def test_bytes_that_are_no_message_are_refused(method: str) -> None:
    async with Doors(_resolver()).open() as channel:
        path, nonsense = f"/{SERVICE}/{method}", b"\xff\xff\xff"
        streaming = method == "StreamResolve"
        call = (
            channel.stream_stream(path)(iter([nonsense])).read()
            if streaming
            else channel.unary_unary(path)(nonsense)
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_plain_question_that_is_not_utf8_is_refused() -> None:
    async with Doors(_resolver()).open() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(f"/{SERVICE}/Resolve")(b"\x0a\x02\xff\xfe")

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_matches_answers_by_tag_and_survives_a_bad_question() -> None:
    asked = {1: BATCH_1, 2: "bad//", 3: "88.107.1001/none", 4: "88.107.1001/OLD"}
    questions = [pb.ResolveRequest(identifier=text, tag=tag) for tag, text in asked.items()]
    async with Doors(_resolver()).open() as channel:
        replies = [reply async for reply in ResolverStub(channel).StreamResolve(iter(questions * 50))]

    assert len(replies) == 200
    assert {(r.tag, r.identifier, r.outcome) for r in replies} == {
        (1, BATCH_1, 1),
        (2, "bad//", 6),
        (3, "88.107.1001/none", 4),
        (4, "88.107.1001/OLD", 2),
    }


async def test_a_slow_answer_does_not_hold_up_the_stream() -> None:
    resolver = _resolver()
    go_on = asyncio.Event()

    async def wait() -> None:
        if resolver.asked[-1].identifier == "88.107.1001/slow":
            await go_on.wait()

    resolver.before_answer = wait
    async with Doors(resolver).open() as channel:
        call = ResolverStub(channel).StreamResolve()
        for tag, name in ((1, "slow"), (2, "BATCH-1")):
            await call.write(pb.ResolveRequest(identifier=f"88.107.1001/{name}", tag=tag))
        first = await call.read()
        go_on.set()
        second = await call.read()
        await call.done_writing()
        end = await call.read()

    assert (first.tag, second.tag) == (2, 1)
    assert end is grpc.aio.EOF


async def test_watch_tells_of_changes() -> None:
    resolver = _resolver()
    async with Doors(resolver).open() as channel:
        call = ResolverStub(channel).Watch(pb.WatchRequest(identifiers=[BATCH_1], after=4))
        for position, status in ((4, 0), (5, 0), (6, 1), (7, 2)):
            await resolver.changes.put(Change(position, BATCH_1, position, status, 1_700_000_000))
        events = [await call.read() for _ in range(3)]
        call.cancel()

    assert [(e.position, e.outcome) for e in events] == [(5, 1), (6, 2), (7, 3)]
    assert events[0].identifier == BATCH_1


@pytest.mark.parametrize(
    ("request_", "login", "status"),
    [
        (pb.WatchRequest(), (), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.WatchRequest(prefix="88..1"), (), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.WatchRequest(identifiers=["a/b"] * (MAX_WATCHED + 1)), (), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (pb.WatchRequest(prefix="88.107.1001"), (), grpc.StatusCode.UNAUTHENTICATED),
        (pb.WatchRequest(prefix="88.107"), EDITOR_LOGIN, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_what_may_not_be_watched_is_refused(request_: Any, login: Any, status: grpc.StatusCode) -> None:
    async with Doors(_resolver()).open() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ResolverStub(channel).Watch(request_, metadata=login).read()

    assert refused.value.code() is status


async def test_a_method_without_a_rule_is_denied_even_to_those_who_log_in() -> None:
    async with Doors(_resolver(), access={}).open() as channel:
        for login in ((), EDITOR_LOGIN):
            for call in (
                ResolverStub(channel).Resolve(pb.ResolveRequest(identifier=BATCH_1), metadata=login),
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), metadata=login),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_method_nobody_has_is_unimplemented() -> None:
    async with Doors(_resolver()).open() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/hazlink.resolver.v1.Resolver/Guess")(b"")

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("login", "status"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer wrong"),), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer banned"),), grpc.StatusCode.PERMISSION_DENIED),
        (EDITOR_LOGIN * 2, grpc.StatusCode.INVALID_ARGUMENT),
        (EDITOR_LOGIN, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_a_rule_is_enforced_before_the_servicer_is_asked(login: Any, status: grpc.StatusCode) -> None:
    resolver = _resolver()
    access = {f"/{SERVICE}/Resolve": needs(Operation.ACCOUNT_MANAGE)}
    async with Doors(resolver, access=access).open() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ResolverStub(channel).Resolve(pb.ResolveRequest(identifier=BATCH_1), metadata=login)

    assert refused.value.code() is status
    assert not resolver.asked


async def test_wrong_credentials_at_an_open_door_are_not_taken_for_nobody() -> None:
    access = {f"/{SERVICE}/Resolve": ANYONE, f"/{SERVICE}/StreamResolve": ANYONE}
    doors = Doors(_resolver(), access=access)
    wrong = (("authorization", "Basic eDp5"),)
    async with doors.open() as channel:
        stub = ResolverStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1), metadata=wrong)
        with pytest.raises(grpc.aio.AioRpcError) as stream:
            await stub.StreamResolve(iter([pb.ResolveRequest(identifier=BATCH_1)]), metadata=wrong).read()

    assert {unary.value.code(), stream.value.code()} == {grpc.StatusCode.UNAUTHENTICATED}
    shown = doors.authenticator.shown[0]
    assert (shown.secure, shown.address) == (True, "127.0.0.1")


async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    throttle = OneCallOnly()
    async with Doors(_resolver(), throttle=throttle).open() as channel:
        stub = ResolverStub(channel)
        await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Resolve(pb.ResolveRequest(identifier=BATCH_1))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(refused.value.trailing_metadata())["retry-after"] == "3"
    assert throttle.seen == ["127.0.0.1", "127.0.0.1"]


async def test_health_is_told_as_it_is_and_watched() -> None:
    doors = Doors(_resolver())
    async with doors.open() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        before = await stub.Check(request)
        watch = stub.Watch(request)
        first = await watch.read()
        await doors.server.set_serving(serving=False)
        second = await watch.read()
        watch.cancel()
        after = await stub.Check(health_pb2.HealthCheckRequest())

    assert (before.status, first.status) == (1, 1)
    assert (second.status, after.status) == (2, 2)


async def test_reflection_lists_the_services() -> None:
    async with Doors(_resolver()).open() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        replies = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        listed = [s.name for s in (await replies.read()).list_services_response.service]

    assert SERVICE in listed
    assert "grpc.health.v1.Health" in listed


async def test_a_request_larger_than_allowed_is_refused() -> None:
    settings = GrpcSettings(address="127.0.0.1:0", max_request_bytes=1000)
    async with Doors(_resolver(), settings=settings).open() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ResolverStub(channel).BatchResolve(pb.BatchResolveRequest(identifiers=[BATCH_1] * 100))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_port_in_use_is_named() -> None:
    doors = Doors(_resolver())
    async with doors.open():
        other = Doors(_resolver(), settings=GrpcSettings(address=f"127.0.0.1:{doors.port}"))
        with pytest.raises(UnavailableError) as refused:
            await other.server.start()

    assert str(doors.port) in refused.value.message("en")


async def test_tls_is_spoken_with_the_certificate_that_was_given() -> None:
    key_pem, certificate_pem = a_certificate()
    doors = Doors(_resolver(), tls=TlsFiles(key_pem, certificate_pem))
    async with doors.open():
        trust = grpc.ssl_channel_credentials(certificate_pem)
        async with grpc.aio.secure_channel(f"localhost:{doors.port}", trust) as secure:
            reply = await ResolverStub(secure).Resolve(pb.ResolveRequest(identifier=BATCH_1))

    assert reply.outcome == pb.OUTCOME_FOUND


@pytest.mark.parametrize(
    ("peer", "address", "loopback"),
    [
        ("ipv4:127.0.0.1:5001", "127.0.0.1", True),
        ("ipv4:192.0.2.7:5001", "192.0.2.7", False),
        ("ipv6:%5B::1%5D:5001", "::1", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:5001", "::ffff:127.0.0.1", True),
        ("ipv6:[2001:db8::7]:5001", "2001:db8::7", False),
        ("unix:/run/node.sock", "unix:/run/node.sock", True),
    ],
)
def test_the_name_of_a_peer_gives_its_address(peer: str, address: str, *, loopback: bool) -> None:
    assert (address_of(peer), is_loopback(peer)) == (address, loopback)
