"""Deposits and take-over among running nodes: who asks finds the way to the superior, and back again."""

import orjson
import pytest
from sqlalchemy import delete

from federation.escrow.storage import held
from node.cli.base import at_node
from proto import resolver_pb2 as pb
from registry.identifier import Identifier
from registry.storage.engine import Database
from registry.trust.chain import verify_chain
from registry.trust.record_signature import verify_record
from resolver.servicer_messages import answer_from_message
from tests.support.exchange_books import database_url
from tests.support.four_nodes import ONE, PARK, TOP, TWO, four_nodes
from tests.support.processes import command, here, put, told, until

pytestmark = pytest.mark.slow

REASON = "机房火灾"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with four_nodes(tmp_path_factory.mktemp("escrow")) as made:
        yield made


def _register(nodes, *names):
    for name in names:
        answer = put(nodes[ONE].client, f"{ONE}/{name}", f"https://{name}.example", nodes.logins[ONE])
        assert answer.status_code == 201, answer.text


def _held(nodes):
    """(revision, kind, records) of the enterprise's deposits at the park, newest first."""
    rows = told(nodes.data(PARK), "escrow", "held")
    return [(row["rev"], row["kind"], row["records"]) for row in rows if row["owner"] == ONE]


def _deposit(nodes):
    """Let a deposit be made now, and wait for it; return it."""
    before = _held(nodes)
    here(nodes.data(ONE), "escrow", "deposit")
    until(lambda: _held(nodes)[:1] != before[:1], "the next deposit", pause=0.5)
    return _held(nodes)[0]


def _status(nodes, prefix):
    # 6: something is red, such as a lane to a node that is dead
    return orjson.loads(command(nodes.data(prefix), "exchange", "status", "--json", accept=(0, 6)))


def _serving(nodes):
    return [one for one in _status(nodes, PARK)["reasons"] if REASON in one["reason_zh"]]


def _found(nodes, by, name):
    """Whether a node finds a record of the enterprise, and may believe it."""
    reply = nodes[by].resolve(f"{ONE}/{name}", with_chain=True)
    if reply.outcome != pb.OUTCOME_FOUND:
        return False
    answer = answer_from_message(reply)
    with at_node(nodes.data(by)) as node:
        anchor, now = node.prefixes.anchor(), node.clock.now()
    chain = verify_chain(answer.proof.chain, anchor=anchor, now=now)
    assert chain.subject.key == ONE
    verify_record(
        public_jws=answer.proof.public_jws,
        restricted_jws=answer.proof.restricted_jws,
        shown=answer.record.values,
        chain=chain,
        identifier=Identifier.parse(f"{ONE}/{name}"),
        now=now,
    )
    return True


def test_a_difference_whose_base_the_superior_lost_is_followed_by_a_full_deposit(nodes):
    _register(nodes, "A", "B")
    until(lambda: _held(nodes), "the first deposit", pause=0.5)
    _register(nodes, "C")
    rev, kind, _ = _deposit(nodes)
    assert kind == "DIFF"
    database = Database(database_url(nodes.data(PARK)))
    try:
        with database.write() as connection:
            connection.execute(delete(held))
    finally:
        database.close()
    _register(nodes, "D")
    # the difference is refused, and what comes next is whole
    assert _deposit(nodes) == (rev + 2, "FULL", 4)
    sent = [one for one in _status(nodes, ONE)["sending"] if one["stream"] == "report"]
    assert [one["rejected"] for one in sent] == [1]


def test_who_knew_the_way_to_a_node_that_is_gone_finds_its_superior_and_the_way_back(nodes):
    for by in (TOP, TWO, PARK):
        assert _found(nodes, by, "A")
    nodes[ONE].kill()
    for by in (TOP, TWO, PARK):
        assert not _found(nodes, by, "B")
    assert _serving(nodes) == []
    made = told(nodes.data(PARK), "escrow", "takeover", ONE, "--reason", REASON)
    assert (made["records"], made["refused"]) == (4, 0)
    for by in (TOP, TWO, PARK):
        until(lambda by=by: _found(nodes, by, "B"), f"{by} asks the superior of the dead node", pause=0.5)
        assert nodes[by].resolve(f"{ONE}/NOBODY").outcome == pb.OUTCOME_NOT_FOUND
    (reason,) = _serving(nodes)
    assert reason["level"] == "amber"
    for text in (reason["reason_zh"], reason["reason_en"]):
        assert ONE in text
        assert str(_held(nodes)[0][0]) in text

    here(nodes.data(PARK), "escrow", "handback", ONE)
    nodes[ONE].start()
    _register(nodes, "E")
    for by in (TOP, TWO, PARK):
        until(lambda by=by: _found(nodes, by, "E"), f"{by} asks the node itself again", pause=0.5)
    assert _serving(nodes) == []
