"""The park hosts a small enterprise and hands it over to its own node; real processes, the operator's own commands."""

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass

import grpc
import pytest

from node.cli.base import at_node
from proto import registry_pb2 as rpb
from proto import resolver_pb2 as pb
from registry.errors import BusyError, HazlinkError
from registry.identifier import Identifier
from registry.trust.chain import verify_chain
from registry.trust.record_signature import verify_record
from resolver.servicer_messages import answer_from_message
from tests.support.ports import free_ports
from tests.support.processes import Login, Served, an_init, here, joined, put, told, until

pytestmark = pytest.mark.slow

SMALL = "88.107.1003"
NAMES = [f"{SMALL}/SHED-{number}" for number in range(6)]
SECRET_NAME = f"{SMALL}/Recipe-A"


@dataclass
class Story:
    """The top node, the park, later the enterprise's own node; and what was there before the hand-over."""

    top: Served
    park: Served
    park_login: Login
    guest: Login
    own: Served
    own_login: Login | None = None


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    folder, base = tmp_path_factory.mktemp("hosting"), free_ports(0, 1, 10, 11, 20, 21)
    with ExitStack() as stack:
        told(folder / "top", *an_init(base, "--root", "--prefix", "88"))
        top = stack.enter_context(Served(folder / "top"))
        told(folder / "park", *an_init(base + 10))
        park_login = joined(folder / "top", folder / "park", "88.107")
        park = stack.enter_context(Served(folder / "park"))
        hosted = told(folder / "park", "host", SMALL, "--name", "示例小厂")
        told(folder / "own", *an_init(base + 20))
        own = Served(folder / "own")
        stack.callback(lambda: own.kill() if own.running else None)
        yield Story(top, park, park_login, Login(hosted["admin"], hosted["secret"]), own)
        for served in (own, park, top):
            if served.running:
                assert served.stop() == 0


def whole(served, name, login):
    """Return every value that `login` may see, by index."""
    answer = served.client.get(f"/api/handles/{name}?publicOnly=false", headers=login.headers)
    assert answer.status_code == 200, answer.text
    return {value["index"]: value for value in answer.json()["values"]}


def issuer_and_claims(served, name):
    """Verify an answer from outside, by the root that the asked node has pinned."""
    answer = answer_from_message(served.resolve(name, with_chain=True))
    with at_node(served.data) as node:
        anchor, now = node.prefixes.anchor(), node.clock.now()
    chain = verify_chain(answer.proof.chain, anchor=anchor, now=now)
    claims = verify_record(
        public_jws=answer.proof.public_jws,
        restricted_jws=None,
        shown=answer.record.values,
        chain=chain,
        identifier=Identifier.parse(name),
        now=now,
    )
    return chain, claims, answer.proof.public_jws


def test_the_hosted_enterprise_moves_to_its_own_node_and_no_identifier_changes(story, tmp_path):
    top, park, guest = story.top, story.park, story.guest

    # --- hosted: the enterprise writes with its own pair, what is private stays private
    # the serving process notices within half a second what the command line did
    until(lambda: put(park.client, NAMES[0], "https://small.example/0", guest).status_code == 201, "hosted")
    for name in NAMES[1:]:
        assert put(park.client, name, f"https://small.example/{name[-1]}", guest).status_code == 201
    private = {
        "values": [
            {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://small.example/r"}},
            {
                "index": 2,
                "type": "NOTE",
                "data": {"format": "string", "value": "配方"},
                "permissions": "1100",
            },
        ]
    }
    url = f"/api/handles/{SECRET_NAME}"
    assert park.client.put(url, json=private, headers=guest.headers).status_code == 201
    for stranger in (Login("300:0.NA/88.107", "x"), story.park_login):
        answer = put(park.client, NAMES[0], "https://not.example", stranger)
        assert answer.status_code in {401, 403}, answer.text
    assert "配方" not in park.get(SECRET_NAME).text
    assert "配方" not in park.client.get(url, headers=story.park_login.headers).text
    before = {name: whole(park, name, guest) for name in (*NAMES, SECRET_NAME)}
    assert before[SECRET_NAME][2]["data"]["value"] == "配方"
    chain, claims, old_jws = issuer_and_claims(top, NAMES[0])
    assert chain.subject.key == SMALL
    known = time.monotonic()

    # --- closed: it answers, and takes nothing
    here(park.data, "handover", "close", SMALL)
    late = f"{SMALL}/LATE"
    until(lambda: put(park.client, late, "https://late.example", guest).status_code >= 400, "closed")
    assert "small.example" in park.get(NAMES[0]).text
    bundle = tmp_path / "bundle"
    until(lambda: _exported(park, bundle), "the last writers are done", pause=0.5)
    assert bundle.stat().st_mode & 0o077 == 0

    # --- taken over by the enterprise's own node, with a new key
    letter = told(park.data, "invite", SMALL, "--purpose", "handover")["invitation"]
    asked = told(story.own.data, "join", letter)
    assert asked["state"] == "pending"
    story.own_login = Login(asked["admin"], asked["secret"])
    here(story.own.data, "handover", "accept", str(bundle))
    here(park.data, "approve", SMALL)
    assert told(story.own.data, "join")["state"] == "active"
    own = story.own.start()

    # --- every identifier is what it was: values, times, version, signature
    for name, values in before.items():
        assert whole(own, name, story.own_login) == values
    assert "配方" not in own.get(SECRET_NAME).text
    chain, again, jws = issuer_and_claims(own, NAMES[0])
    assert (jws, again) == (old_jws, claims)
    assert chain.leaf.endpoints.resolve == (own.url,)
    assert len(chain.leaf.keys) == 2, "the new key, and the old one for what it signed"

    # --- the park refers, and takes no writes, whoever comes
    until(
        lambda: park.resolve(NAMES[0], no_recursion=True).outcome == pb.OUTCOME_REFERRAL,
        "the park knows that it refers",
    )
    assert park.resolve(NAMES[0], no_recursion=True).referral.prefix == SMALL
    for login in (guest, story.park_login, story.own_login):
        answer = put(park.client, NAMES[1], "https://park.example", login)
        assert answer.status_code >= 400, answer.text
        asked = rpb.RegisterRequest(draft=rpb.Draft(identifier=f"{SMALL}/NEW"))
        with pytest.raises(grpc.RpcError, match=r"UNAUTHENTICATED|PERMISSION_DENIED|FAILED_PRECONDITION"):
            park.registry.Register(asked, metadata=login.metadata)
    until(lambda: "small.example" in park.get(NAMES[1]).text, "the park resolves it at its new place")

    # --- the own node goes on writing under the new key; everybody sees it, the top tier too
    assert put(own.client, NAMES[2], "https://own.example/2", story.own_login).status_code == 200
    assert put(own.client, f"{SMALL}/NEW", "https://own.example/new", story.own_login).status_code == 201
    until(lambda: "own.example/2" in park.get(NAMES[2]).text, "the park sees a change")
    began = time.monotonic()
    until(
        lambda: "own.example/new" in top.get(f"{SMALL}/NEW").text,
        "the top tier sees the new place",
        pause=0.5,
    )
    print(
        f"the top tier, which had learnt the old place {began - known:.1f} s before, "
        f"found the new one {time.monotonic() - began:.1f} s after the first question"
    )
    new_chain, new_claims, _ = issuer_and_claims(own, NAMES[2])
    assert new_claims.version == 2
    # the statement may have been renewed meanwhile, to name the new node's log: the keys it vouches for are the same
    assert [key.kid for key in new_chain.leaf.keys] == [key.kid for key in chain.leaf.keys]
    assert new_chain.tokens[1:] == chain.tokens[1:]
    for name in NAMES:
        assert issuer_and_claims(top, name)[0].subject.key == SMALL

    # --- the trail came along
    asked = rpb.HistoryRequest(identifier=NAMES[2])
    entries = own.registry.History(asked, metadata=story.own_login.metadata).entries
    assert entries[-1].who == story.own_login.name
    assert re.search(r"\d", str(entries[-1].position))


def test_a_withdrawal_at_the_own_node_is_seen_by_the_park(story):
    name = NAMES[3]
    asked = rpb.WithdrawRequest(identifier=name, reason="moved on")
    done = story.own.registry.Withdraw(asked, metadata=story.own_login.metadata)
    assert done.done == rpb.DONE_CHANGED
    assert story.own.resolve(name).outcome == pb.OUTCOME_WITHDRAWN
    assert story.park.resolve(name, authoritative=True).outcome == pb.OUTCOME_WITHDRAWN
    assert story.park.resolve(name).outcome == pb.OUTCOME_WITHDRAWN


def test_while_the_own_node_is_away_the_park_says_so_or_gives_what_it_knew_marked(story):
    assert story.park.resolve(NAMES[4]).outcome == pb.OUTCOME_FOUND
    assert story.own.stop() == 0
    known = story.park.resolve(NAMES[4], authoritative=True)
    assert (known.outcome, known.source) == (pb.OUTCOME_FOUND, pb.SOURCE_STALE)
    unknown = story.park.resolve(f"{SMALL}/NEVER-ASKED")
    assert unknown.outcome == pb.OUTCOME_FAILED
    story.own.start()
    until(
        lambda: story.park.resolve(NAMES[4], authoritative=True).source == pb.SOURCE_AUTHORITATIVE,
        "it is back",
        pause=0.3,
    )


def _exported(park, bundle):
    try:
        here(park.data, "handover", "export", SMALL, str(bundle))
    except BusyError:
        return False
    except HazlinkError as error:
        raise AssertionError(error.message("en")) from error
    return True
