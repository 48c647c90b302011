"""A regulator asks three tiers of running nodes: signed answers, a node that is dead, and one that comes back."""

import json

import pytest

from federation.evidence import verifier
from federation.exchange import envelope as wire
from federation.exchange.storage.tables import exchange_in
from node.cli.base import at_node
from registry.errors import HazlinkError
from registry.trust import jws
from registry.trust.chain import verify_chain
from registry.trust.statement import read as read_statement
from tests.support.exchange_books import opened
from tests.support.four_nodes import ONE, PARK, TOP, TWO, four_nodes
from tests.support.processes import command, here, put, told, until

pytestmark = pytest.mark.slow

PURPOSE = "事故调查 2026-17"
NAMES = {ONE: f"{ONE}/BATCH-1", TWO: f"{TWO}/BATCH-2"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with four_nodes(tmp_path_factory.mktemp("queries")) as made:
        for prefix, name in NAMES.items():
            answer = put(made[prefix].client, name, f"https://{prefix}.example", made.logins[prefix])
            assert answer.status_code == 201, answer.text
        yield made


def _ask(nodes, *targets, by=TOP, purpose=PURPOSE, **how):
    words = [word for name, value in how.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return told(nodes.data(by), "query", "ask", *targets, "--purpose", purpose, *words)


def _outcomes(nodes, question, by=TOP):
    shown = told(nodes.data(by), "query", "show", question["query"])
    return {outcome["prefix"]: outcome for outcome in shown["outcomes"]}


def _states(nodes, question, by=TOP):
    return {prefix: outcome["status"] for prefix, outcome in _outcomes(nodes, question, by).items()}


def _until(nodes, question, expected, by=TOP):
    """Wait for these states; the last that were seen stand in the failure."""
    seen = {}

    def there():
        seen.clear()
        seen.update(_states(nodes, question, by))
        return seen == expected

    try:
        until(there, f"{expected}", pause=0.5)
    except AssertionError:
        assert seen == expected


def _verified(nodes, env):
    """The answer as its own signer signed it, out of what the regulator keeps, verified from the pinned root."""
    with at_node(nodes.data(TOP)) as node:
        anchor, now = node.prefixes.anchor(), node.clock.now()
    with opened(nodes.data(TOP)) as connection:
        rows = connection.execute(exchange_in.select().where(exchange_in.c.stream == "query")).all()
    for row in rows:
        made = wire.read(wire.parse(bytes(row.token)))
        chain = None
        while made.type == "relay":
            body = made.body
            made, chain = wire.read(wire.parse(body["token"].encode())), body["chain"]
        if made.env != env:
            continue
        if chain is None:
            with at_node(nodes.data(TOP)) as node:
                chain = next(iter(node.exporter._vouchers.chains(made.iss)))
        proven = verify_chain(chain, anchor=anchor, now=now)
        key = next(key for key in read_statement(chain[0]).keys if key.kid == made.kid)
        jws.verify(made.parsed, key.public)
        assert proven.leaf.subject == made.iss
        return made
    raise AssertionError(f"the regulator keeps no envelope {env}")


def _log_leaves(data, env):
    """The kinds of leaves a node's log has about an envelope."""
    with at_node(data) as node:
        return sorted(json.loads(leaf)["kind"] for _, leaf in node.log.find(env))


def test_every_node_below_answers_under_its_own_signature_and_both_ends_keep_the_question(nodes, tmp_path):
    question = _ask(nodes, PARK, subject=NAMES[ONE])
    assert (question["asker"], question["purpose"], question["targets"]) == (TOP, PURPOSE, [PARK])
    _until(nodes, question, dict.fromkeys((PARK, ONE, TWO), "answered"))
    outcomes = _outcomes(nodes, question)
    (record,) = outcomes[ONE]["content"]["records"]
    assert record["identifier"] == NAMES[ONE]
    assert outcomes[TWO]["content"] == {"records": [], "not_found": []}
    assert set(outcomes[PARK]["handed_on"]) == {ONE, TWO}
    for prefix in (PARK, ONE, TWO):
        signed = _verified(nodes, outcomes[prefix]["env"])
        assert (signed.iss.key, signed.body["query"]) == (prefix, question["query"])
        assert signed.body["content"] == outcomes[prefix]["content"]

    # the regulator's own log, and what each that was asked sees
    assert question["query"] in [one["query"] for one in told(nodes.data(TOP), "query", "list")]
    for prefix in (PARK, ONE, TWO):
        line = next(
            one for one in told(nodes.data(prefix), "query", "received") if one["query"] == question["query"]
        )
        assert (line["asker"], line["purpose"], line["prefix"]) == (TOP, PURPOSE, prefix)
        assert line["person"] == question["person"]
        assert line["status"] == "answered"
        assert line["came_from"] == (TOP if prefix == PARK else PARK)
    by_http = nodes[ONE].client.get(
        "/queries/received", params={"prefix": ONE}, headers=nodes.logins[ONE].headers
    )
    assert question["query"] in [one["query"] for one in by_http.json()["received"]]
    stranger = nodes[ONE].client.get("/queries/received", params={"prefix": ONE})
    assert stranger.status_code == 401

    # the same question in the hash trees of both ends
    env = next(
        one["env"] for one in told(nodes.data(PARK), "query", "received") if one["query"] == question["query"]
    )
    until(lambda: _log_leaves(nodes.data(TOP), env) == ["ack", "out"], "the receipt in the asker's log")
    assert _log_leaves(nodes.data(PARK), env) == ["in"]

    # and the answer of an enterprise that only reached the regulator inside a relay, from files alone
    file = tmp_path / "answer.json"
    env = outcomes[ONE]["env"]

    def proven():
        try:
            here(nodes.data(TOP), "log", "prove", env, "--out", str(file))
        except (HazlinkError, AssertionError):
            return False
        return True

    until(proven, "a witnessed checkpoint over the answer", pause=1)
    with at_node(nodes.data(TOP)) as node:
        anchor = node.prefixes.anchor().fingerprint
    finding = verifier.verify(file.read_bytes(), anchor)
    assert finding.holds, finding.text("en")
    assert (finding.facts["sender"], finding.facts["inner"]["sender"]) == (PARK, ONE)


def test_a_dead_node_has_a_tombstone_and_says_that_it_came_too_late_when_it_is_back(nodes):
    nodes[TWO].kill()
    question = _ask(nodes, PARK, life_seconds=8)
    short = dict.fromkeys((PARK, ONE), "answered")
    _until(nodes, question, short | {TWO: "waiting"})
    _until(nodes, question, short | {TWO: "silent"})
    tombstone = _outcomes(nodes, question)[TWO]
    assert set(tombstone) == {"prefix", "status", "reason", "reason_zh", "reason_en"}
    assert tombstone["reason"] == "federation.queries.silent"
    nodes[TWO].start()
    _until(nodes, question, short | {TWO: "expired"})
    late = _outcomes(nodes, question)[TWO]
    assert (late["content"], late["reason"]) == ({}, "federation.queries.expired")
    assert _verified(nodes, late["env"]).iss.key == TWO
    line = next(
        one for one in told(nodes.data(TWO), "query", "received") if one["query"] == question["query"]
    )
    assert line["status"] == "expired"


def test_a_node_that_comes_back_in_time_answers_late(nodes):
    nodes[TWO].kill()
    question = _ask(nodes, ONE, TWO, subject=NAMES[TWO])
    # the park is on the way, and not waited for
    _until(nodes, question, {ONE: "answered", TWO: "waiting"})
    nodes[TWO].start()
    _until(nodes, question, {ONE: "answered", TWO: "answered"})
    (record,) = _outcomes(nodes, question)[TWO]["content"]["records"]
    assert record["identifier"] == NAMES[TWO]


@pytest.mark.parametrize(
    ("targets", "how", "word"),
    [
        (["89"], {}, "89"),
        (["880"], {}, "880"),
        ([PARK], {"subject": "88.108/X"}, "88.108/X"),
        ([PARK], {"purpose": "   "}, "purpose"),
        ([PARK], {"life_seconds": 31 * 86_400}, "30"),
        (["88..1"], {}, "88..1"),
    ],
)
def test_a_question_outside_the_rights_of_the_asker_is_not_asked(nodes, targets, how, word):
    before = told(nodes.data(TOP), "query", "list")
    with pytest.raises(HazlinkError) as refused:
        _ask(nodes, *targets, **how)
    for language in ("zh", "en"):
        assert word in refused.value.message(language)
    assert told(nodes.data(TOP), "query", "list") == before


def test_an_enterprise_asks_neither_its_neighbour_nor_its_superior(nodes):
    for target in (TWO, PARK, TOP):
        with pytest.raises(HazlinkError) as refused:
            _ask(nodes, target, by=ONE)
        assert refused.value.code == "federation.queries.not_below"


def test_a_question_without_a_purpose_or_a_future_is_no_command(nodes):
    # as an operator meets it: a process, its exit status, and nothing asked
    before = told(nodes.data(TOP), "query", "list")
    command(nodes.data(TOP), "query", "ask", PARK, accept=(2,))
    command(nodes.data(TOP), "query", "ask", PARK, "--purpose", "x", "--life-seconds", "0", accept=(2,))
    assert told(nodes.data(TOP), "query", "list") == before
