"""Questions down the tiers and answers back up, over real envelopes between three books."""

from dataclasses import dataclass, field

import pytest

from federation.exchange import envelope as wire
from federation.exchange.envelope import Position
from federation.exchange.handlers import Delivery
from federation.exchange.outbox import Outbox, to_draft
from federation.exchange.storage.sending import SendingUnit
from federation.queries.query import STREAM, Answer, AnswerStatus, Question
from federation.queries.service import AnswerHandler, AskHandler, Queries
from federation.queries.sorts import RecordsSort
from node.schema import upgrade
from registry.errors import (
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    MalformedError,
    NotFoundError,
    UnavailableError,
)
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from registry.storage.engine import Database
from registry.trust.chain import chain_sha256
from registry.value import Scope, Visibility
from tests.support.network import HandClock
from tests.support.trust import NOW, a_chain, a_record, a_signer, a_value

TOP, PARK, ONE, TWO, HOSTED = map(Prefix.parse, ("88", "88.107", "88.107.1001", "88.107.1002", "88.107.1003"))
CHAIN = {
    prefix: a_chain(*(above.key for above in reversed(list(prefix.ancestors()))))
    for prefix in (TOP, PARK, ONE, TWO, HOSTED)
}
AUDITOR = Principal(name="li.si@88", grants=frozenset({Grant(TOP, Role.AUDITOR)}))


def person(prefix, role=Role.READER):
    return Principal(name=f"wang.wu@{prefix.key}", grants=frozenset({Grant(prefix, role)}))


@dataclass
class Below:
    hosted: tuple = ()
    delegated: tuple = ()


@dataclass
class Book:
    """One node: its database, its queries, its children."""

    prefix: Prefix
    database: Database
    queries: Queries
    children: dict = field(default_factory=dict)
    records: dict = field(default_factory=dict)
    silent: bool = False
    broken: bool = False


class Post:
    """Carries what waits in each outbox to its receiver, unwrapping relays as the exchange does."""

    def __init__(self, tmp_path):
        self.clock = HandClock()
        self.books = {}
        self.carried = []
        for prefix, below in (
            (TOP, {TOP: Below(delegated=(PARK,))}),
            (PARK, {PARK: Below(hosted=(HOSTED,), delegated=(ONE, TWO))}),
            (ONE, {}),
            (TWO, {}),
        ):
            self.books[prefix] = self.book(tmp_path, prefix, below)
        self.books[HOSTED] = self.books[PARK]

    def book(self, tmp_path, prefix, below):
        database = Database(f"sqlite:///{tmp_path / prefix.key}.sqlite3")
        upgrade(database)
        made = Book(prefix, database, None, below)

        class Children:
            def of(self, asked):
                found = made.children.get(asked, Below())
                return found.hosted, found.delegated

        def records(identifiers):
            if made.broken:
                raise UnavailableError("registry.storage.unavailable", reason="broken by the test")
            return [made.records.get(identifier.key) for identifier in identifiers]

        made.queries = Queries(
            transactions=database,
            children=Children(),
            outbox=Outbox(clock=self.clock),
            sorts=(RecordsSort(records=records),),
            clock=self.clock,
            entropy=lambda size: bytes(range(size)),
        )
        return made

    def close(self):
        for book in self.books.values():
            book.database.close()

    def deliver(self, draft):
        """Seal a draft, hand it to its receiver's handler; raises what the handler raises."""
        chain = CHAIN[draft.iss].tokens
        made = wire.seal(
            a_signer(draft.iss.key), draft, Position(1, 1, "A" * 43),
            chain=chain_sha256(chain), jti=wire.uuid7(NOW * 1000, bytes), iat=NOW,
        )  # fmt: skip
        self.carried.append(made)
        via = []
        while made.type == "relay":
            via.insert(0, made.iss)
            made = wire.read(wire.parse(made.body["token"].encode()))
        book = self.books[draft.aud]
        handlers = {h.type: h for h in (AskHandler(book.queries), AnswerHandler(book.queries))}
        handler = handlers[made.type]
        handler.check(made.body)
        with book.database.write() as connection:
            handler.apply(
                connection,
                Delivery(
                    envelope=made, origin=made.iss, via=tuple(via), chain=CHAIN[made.iss].verified(),
                    received_at=int(self.clock.now()), body=made.body, receiver=draft.aud,
                ),
            )  # fmt: skip

    def carry(self):
        """Carry and answer until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            for book in self.books.values():
                if book.silent:
                    continue
                with book.database.write() as connection:
                    unit = SendingUnit(connection)
                    drafts = [
                        one for lane in unit.pending_lanes(STREAM) for one in unit.pending(lane, 100)
                        if not self.books[lane.aud].silent
                    ]  # fmt: skip
                    unit.remove_pending([one.position for one in drafts])
                for one in drafts:
                    self.deliver(to_draft(one))
                moved = bool(drafts) or book.queries.answer_waiting() > 0 or moved


@pytest.fixture
def post(tmp_path):
    made = Post(tmp_path)
    one = a_record(
        "88.107.1001/BATCH-1",
        a_value(),
        a_value(2001, "PLAN", "only for us", visibility=Visibility(Scope.PRIVATE), salt=b"s" * 16),
        a_value(2002, "TANK", "for superiors", visibility=Visibility(Scope.FEDERATION), salt=b"t" * 16),
    )
    made.books[ONE].records[one.identifier.key] = one
    yield made
    made.close()


def ask(post, **other):
    wanted = {"asker": TOP, "targets": [PARK], "purpose": "调查 2026-17", "sort": "records"} | other
    return post.books[TOP].queries.ask(AUDITOR, **wanted)


def outcomes(post, question):
    return {o.prefix: o for o in post.books[TOP].queries.result(AUDITOR, question.id)[1]}


def test_a_question_reaches_every_node_below_and_each_answers_under_its_own_signature(post):
    question = ask(post, subjects=["88.107.1001/BATCH-1"])
    post.carry()
    found = outcomes(post, question)
    assert set(found) == {PARK, ONE, TWO, HOSTED}
    assert {o.status for o in found.values()} == {AnswerStatus.ANSWERED}
    (record,) = found[ONE].answer.content["records"]
    assert record["identifier"] == "88.107.1001/BATCH-1"
    assert found[TWO].answer.content == {"records": [], "not_found": []}
    signed = next(e for e in post.carried if e.env == found[ONE].env or found[ONE].env in str(e.body))
    assert signed is not None
    assert set(found[PARK].answer.handed_on) == {ONE, TWO, HOSTED}


def test_the_asker_sees_federation_values_and_no_private_ones(post):
    question = ask(post, targets=[ONE], subjects=["88.107.1001/BATCH-1"])
    post.carry()
    (record,) = outcomes(post, question)[ONE].answer.content["records"]
    assert {value["type"] for value in record["values"]} == {"CAS_NO", "TANK"}


def test_only_the_nodes_concerned_are_asked(post):
    question = ask(post, targets=[ONE])
    post.carry()
    assert ONE in outcomes(post, question)
    assert TWO not in outcomes(post, question)
    assert post.books[TWO].queries.received(person(TWO), TWO) == []


def test_a_silent_node_waits_and_becomes_a_tombstone_when_the_question_has_expired(post):
    post.books[TWO].silent = True
    question = ask(post)
    post.carry()
    assert outcomes(post, question)[TWO].status is AnswerStatus.WAITING
    post.clock.move(3_601)
    found = outcomes(post, question)
    assert found[TWO].status is AnswerStatus.SILENT
    assert found[ONE].status is AnswerStatus.ANSWERED


def test_every_target_is_waited_for_and_whoever_only_passes_the_question_on_is_not(post):
    post.books[TWO].silent = True
    nobody = Prefix.parse("88.107.1009")
    question = ask(post, targets=[ONE, TWO, nobody])
    assert {o.status for o in outcomes(post, question).values()} == {AnswerStatus.WAITING}
    post.carry()
    found = {prefix: o.status for prefix, o in outcomes(post, question).items()}
    assert found == {ONE: AnswerStatus.ANSWERED, TWO: AnswerStatus.WAITING, nobody: AnswerStatus.WAITING}
    (line,) = post.books[PARK].queries.received(person(PARK), PARK)
    assert line.status == AnswerStatus.PASSED_ON
    post.clock.move(3_601)
    found = {prefix: o.status for prefix, o in outcomes(post, question).items()}
    assert found == {ONE: AnswerStatus.ANSWERED, TWO: AnswerStatus.SILENT, nobody: AnswerStatus.SILENT}


def test_whoever_comes_back_after_the_expiry_says_so_and_tells_nothing(post):
    post.books[ONE].silent = True
    question = ask(post, subjects=["88.107.1001/BATCH-1"])
    post.carry()
    post.clock.move(3_601)
    post.books[ONE].silent = False
    post.carry()
    answer = outcomes(post, question)[ONE].answer
    assert (answer.status, answer.content) == (AnswerStatus.EXPIRED, {})


def test_the_enterprise_sees_who_asked_what_and_why(post):
    question = ask(post, subjects=["88.107.1001/BATCH-1"])
    post.carry()
    (line,) = post.books[ONE].queries.received(person(ONE), ONE)
    assert (line.question.id, line.question.asker, line.question.person) == (question.id, TOP, "li.si@88")
    assert (line.question.purpose, line.status, line.came_from) == ("调查 2026-17", "answered", PARK)
    with pytest.raises(ForbiddenError):
        post.books[ONE].queries.received(person(TWO), ONE)


def test_a_hosted_enterprise_sees_it_too_and_its_neighbours_do_not(post):
    ask(post)
    post.carry()
    park = post.books[PARK].queries
    assert len(park.received(person(HOSTED), HOSTED)) == 1
    with pytest.raises(ForbiddenError):
        park.received(person(PARK, Role.ADMIN), HOSTED)


def test_a_question_that_arrives_twice_is_answered_once(post):
    question = ask(post, targets=[ONE])
    post.carry()
    again = next(e for e in post.carried if e.aud == ONE)
    post.deliver(wire.Draft(PARK, ONE, STREAM, again.type, again.schema, again.body))
    before = len(post.carried)
    post.carry()
    assert len(post.carried) == before
    assert outcomes(post, question)[ONE].status is AnswerStatus.ANSWERED


def test_a_sort_that_a_node_does_not_know_is_said_to_be_unsupported(post):
    question = ask(post, targets=[ONE], sort="flow-trace")
    post.carry()
    assert outcomes(post, question)[ONE].status is AnswerStatus.UNSUPPORTED


def test_a_refusal_travels_with_its_reason(post):
    post.books[ONE].queries._sorts["records"].answer = lambda *_: (_ for _ in ()).throw(
        ForbiddenError("registry.access.forbidden", operation="x", prefix="y", who="z")
    )
    question = ask(post, targets=[ONE])
    post.carry()
    answer = outcomes(post, question)[ONE].answer
    assert (answer.status, answer.reason) == (AnswerStatus.REFUSED, "registry.access.forbidden")


def test_what_cannot_be_read_now_is_answered_later(post):
    post.books[ONE].broken = True
    question = ask(post, targets=[ONE], subjects=["88.107.1001/BATCH-1"])
    with pytest.raises(UnavailableError):
        post.carry()
    assert ONE not in {o for o in outcomes(post, question) if outcomes(post, question)[o].answer}
    post.books[ONE].broken = False
    post.carry()
    assert outcomes(post, question)[ONE].status is AnswerStatus.ANSWERED


def test_a_node_may_ask_itself(post):
    question = post.books[PARK].queries.ask(
        person(PARK, Role.AUDITOR), asker=PARK, targets=[PARK], purpose="own look", sort="records"
    )
    post.carry()
    found = {
        o.prefix: o.status
        for o in post.books[PARK].queries.result(person(PARK, Role.AUDITOR), question.id)[1]
    }
    assert found == dict.fromkeys((PARK, ONE, TWO, HOSTED), AnswerStatus.ANSWERED)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"targets": [Prefix.parse("89")]}, InvalidValueError),
        ({"targets": [Prefix.parse("880")]}, InvalidValueError),
        ({"targets": []}, MalformedError),
        ({"purpose": "   "}, HazlinkError),
        ({"subjects": ["88.108/X"]}, InvalidValueError),
        ({"subjects": ["no slash"]}, HazlinkError),
        ({"life_seconds": 31 * 86_400}, InvalidValueError),
        ({"life_seconds": 0}, InvalidValueError),
    ],
)
def test_a_question_that_breaks_a_rule_is_not_asked(post, change, error):
    with pytest.raises(error):
        ask(post, **change)
    assert post.books[TOP].queries.asked(AUDITOR, TOP) == []


@pytest.mark.parametrize("role", [Role.READER, Role.EDITOR, Role.NODE])
def test_only_auditors_operators_and_admins_ask(post, role):
    with pytest.raises(ForbiddenError):
        post.books[TOP].queries.ask(person(TOP, role), asker=TOP, targets=[PARK], purpose="x", sort="records")


def a_question(**other):
    wanted = {
        "id": "q", "asker": TOP, "person": "p", "purpose": "x", "sort": "records", "targets": (ONE,),
        "subjects": (), "params": {}, "asked_at": NOW, "expires": NOW + 60,
    } | other  # fmt: skip
    return Question(**wanted)


def test_a_question_in_somebody_elses_name_is_refused(post):
    with pytest.raises(ForbiddenError):
        post.deliver(wire.Draft(PARK, ONE, STREAM, "query.ask", "query/1", a_question().to_body()))


def test_an_answer_in_somebody_elses_name_is_refused(post):
    question = ask(post, targets=[ONE])
    answer = Answer(question.id, ONE, AnswerStatus.ANSWERED, {}, "", (), NOW)
    with pytest.raises(ForbiddenError):
        post.deliver(wire.Draft(TWO, PARK, STREAM, "query.answer", "query/1", answer.to_body()))


def test_an_answer_that_nobody_asked_for_is_refused(post):
    answer = Answer("no-such-question", ONE, AnswerStatus.ANSWERED, {}, "", (), NOW)
    with pytest.raises(NotFoundError):
        post.deliver(wire.Draft(ONE, PARK, STREAM, "query.answer", "query/1", answer.to_body()))


def test_identifiers_left_out_of_the_list_that_is_held_against_the_rights_are_refused(post):
    body = a_question(subjects=("88.107.1001/X",)).to_body() | {"identifiers": ["0.NA/88.107.1001"]}
    with pytest.raises(InvalidValueError):
        post.deliver(wire.Draft(TOP, PARK, STREAM, "query.ask", "query/1", body))


def test_a_stranger_learns_nothing_about_a_question(post):
    question = ask(post)
    with pytest.raises(ForbiddenError):
        post.books[TOP].queries.result(person(ONE, Role.ADMIN), question.id)
    with pytest.raises(NotFoundError):
        post.books[TOP].queries.result(AUDITOR, "nothing")
