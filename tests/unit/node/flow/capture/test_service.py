from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest

from node.flow.books.storage import open_book
from node.flow.capture.job import Behaviour, Fault
from node.flow.capture.storage.events import EventRows
from node.flow.ledger.lines import Account
from tests.support.flow import (
    OWNER,
    an_event,
    counted,
    declared,
    gone,
    lot,
    made,
    micros,
    moved,
    party,
    place,
    ran,
    some,
    waybill,
)
from tests.support.flow_books import FlowBook


@pytest.fixture
def book(database):
    return FlowBook(database)


def stock(book, name="A", loc="store", uom="KGM"):
    key = (Account.STOCK, OWNER, place(loc), "", lot(name), uom)
    return book.balances().get(key, Decimal(0))


def transit(book, name="A", bill="W1"):
    return book.balances().get((Account.TRANSIT, "", "", waybill(bill), lot(name), "KGM"), Decimal(0))


def faults(job):
    return [(error.position, error.fault) for error in job.errors]


def test_events_are_booked_in_the_same_transaction(book):
    job = book.take(made("A", "21.50", "TNE"), gone("A", 500, hours=1))
    assert (job.success, job.running, job.stored, job.errors) == (True, False, 2, ())
    assert stock(book) == 21_000


def test_the_same_events_again_are_told_and_change_nothing(book):
    events = [made("A", 10), gone("A", 1, hours=1)]
    book.take(*events)
    before = book.everything()
    job = book.take(*events)
    assert (job.success, job.stored) == (True, 0)
    assert faults(job) == [(0, Fault.REPEATED), (1, Fault.REPEATED)]
    assert book.everything() == before
    again = book.take(events[0], made("B", 2))
    assert (again.success, again.stored) == (True, 1)


def test_an_event_twice_in_one_document_is_one_event(book):
    job = book.take(made("A", 10), made("A", 10))
    assert (faults(job), stock(book)) == ([(1, Fault.REPEATED)], 10)


def test_the_same_document_again_gets_its_first_job(book):
    first = book.take(made("A", 10), digest=b"d" * 32)
    again = book.take(made("A", 10), digest=b"d" * 32)
    assert (again.capture_id, again.again, again.errors) == (first.capture_id, True, ())
    assert book.service.job(book.owner, first.capture_id).stored == 1
    for unknown in ("99", "x", "", "9" * 40, "٣"):
        assert book.service.job(book.owner, unknown) is None


def test_a_known_id_with_other_content_is_kept_and_not_booked(book):
    book.take(made("A", 10, eventID="urn:e:1"))
    job = book.take(made("A", 12, eventID="urn:e:1"))
    assert (faults(job), job.stored, stock(book)) == ([(0, Fault.SAME_ID)], 1, 10)
    assert book.notes() == [(2, "same_id")]
    with book.database.read() as connection:
        assert [one.contradicts for one in EventRows(connection, 1).find("urn:e:1")] == [False, True]


def test_a_declaration_takes_back_every_line_and_edge_of_its_event(book):
    run = ran({"A": 3}, {"B": 3}, run="urn:run:1")
    book.take(made("A", 10))
    before = book.everything()
    book.take(run)
    book.take(declared(run))
    after = book.everything()
    assert after["balances"] == before["balances"]
    assert after["lines"] == before["lines"]
    with book.database.read() as connection:
        rows = EventRows(connection, 1)
        assert (rows.one(2).void_by, rows.one(3).voids) == (3, 2)
    assert [line.reverses for _, line in book.reading(lambda ledger: ledger.lines(lot("B")))] == [
        None, None, "2", "2",
    ]  # fmt: skip


def test_a_second_declaration_and_one_of_other_content_are_refused(book):
    event = made("A", 10, eventID="urn:e:1")
    book.take(event, declared(event))
    assert faults(book.take(declared(event))) == [(0, Fault.DECLARED_AGAIN)]
    standing = made("B", 10, eventID="urn:e:2")
    book.take(standing)
    job = book.take(declared(made("B", 11, eventID="urn:e:2")))
    assert (faults(job), job.success) == ([(0, Fault.DECLARED_OTHERWISE)], False)
    assert stock(book, "B") == 10


def test_a_declaration_ahead_of_its_event_waits_for_it(book):
    event = made("A", 10)
    assert book.take(declared(event)).success
    assert book.take(event).success
    assert stock(book) == 0
    live = book.everything()
    book.rebuild()
    assert book.everything() == live


def test_an_event_that_its_waiting_declaration_does_not_fit_stands_and_is_noted(book):
    book.take(declared(made("A", 10, eventID="urn:e:1")))
    book.take(made("A", 12, eventID="urn:e:1"))
    assert (stock(book), book.notes()) == (12, [(2, "declared_otherwise")])
    live = book.everything()
    book.rebuild()
    assert book.everything() == live


def test_rollback_stores_nothing_of_a_document_with_a_refused_event(book):
    event = made("A", 10)
    book.take(event, declared(event))
    job = book.take(made("B", 5), declared(event))
    assert (job.success, job.stored, stock(book, "B")) == (False, 0, 0)
    job = book.take(made("B", 5), declared(event), behaviour=Behaviour.PROCEED)
    assert (job.success, job.stored, stock(book, "B")) == (False, 1, 5)


def test_a_name_too_long_for_the_tables_is_refused(book):
    job = book.take(an_event(action="ADD", quantityList=[some("https://a.test/" + "x" * 1_000, 1)]))
    assert faults(job) == [(0, Fault.NAME_LONG)]


def test_what_left_under_a_waybill_left_once_and_the_rest_stays_in_transit(book):
    book.take(made("A", 100), moved("departing", "A", 30, hours=2))
    assert (stock(book), transit(book)) == (70, 30)
    shipping = moved("shipping", "A", 29, hours=1)
    book.take(shipping)
    assert (stock(book), transit(book)) == (71, 29)
    book.take(moved("arriving", "A", 29, hours=3, loc="b"))
    book.take(moved("receiving", "A", 28, hours=4, loc="b"))
    assert (stock(book, loc="b"), transit(book)) == (28, 1)
    assert book.findings() == ["open_transit"]
    book.take(declared(shipping))
    assert (stock(book), transit(book)) == (70, 2)


def test_a_receipt_without_a_dispatch_and_stock_below_nothing_are_seen(book):
    book.take(moved("receiving", "A", 5), gone("B", 2))
    assert book.findings() == ["negative_balance", "receipt_without_dispatch"]
    book.take(
        made("B", 2, hours=-5), moved("shipping", "A", 5, loc="b", hours=-5), made("A", 5, loc="b", hours=-6)
    )
    assert book.findings() == [], "late events are normal"


def test_a_count_moves_the_stock_to_its_figure_whatever_comes_to_light_later(book):
    book.take(made("A", 100, hours=1), counted("A", 90, hours=5))
    assert stock(book) == 90
    book.take(gone("A", 7, hours=3))
    assert stock(book) == 90, "the count was right: less was missing than it seemed"
    book.take(gone("A", 4, hours=5))
    assert stock(book) == 90, "what happened at its moment happened before it"
    book.take(gone("A", 1, hours=6))
    assert stock(book) == 89
    between = counted("A", 95, hours=4)
    book.take(between)
    assert stock(book) == 89
    book.take(declared(between))
    assert stock(book) == 89
    at_noon = book.reading(lambda ledger: ledger.balances_as_of(micros(4), batch=lot("A")))
    assert [one.qty for one in at_noon if one.account is Account.STOCK] == [93]


def test_two_counts_of_one_moment_go_by_their_hashes_in_whatever_order_they_come(book):
    counts = [counted("A", 80 + n, hours=5) for n in range(6)]
    last = max(counts, key=lambda event: event.hash)
    book.take(made("A", 100), *counts)
    assert stock(book) == last.quantities[0].quantity
    other = FlowBook(book.database, f"{OWNER}.2")
    for event in [made("A", 100), *sorted(counts, key=lambda event: event.hash, reverse=True)]:
        other.take(event)
    assert [qty for key, qty in other.balances().items() if key[0] is Account.STOCK] == [stock(book)]
    assert adjusted(other) == adjusted(book), "each count says what was missing at it"


def adjusted(book):
    """What each count added or took, by what it counted."""
    found = defaultdict(Decimal)
    for _, line in book.reading(lambda ledger: ledger.lines(lot("A"))):
        if line.account is Account.ADJUSTED:
            with book.database.read() as connection:
                number = open_book(connection, book.owner.key)
                event = EventRows(connection, number).one(int(line.event_id))
            found[event.hash] += line.qty
    return {counted: qty for counted, qty in found.items() if qty}


def test_a_lot_that_descends_from_itself_is_noted_at_the_event_that_closes_the_ring(book):
    book.take(ran({"A": 1}, {"B": 1}, run="urn:run:1"), ran({"B": 1}, {"C": 1}, run="urn:run:2"))
    assert book.notes() == []
    book.take(ran({"C": 1}, {"A": 1}, run="urn:run:3"))
    assert book.notes() == [(3, "cycle")]
    live = book.everything()
    book.rebuild()
    assert book.everything() == live


def test_stock_can_be_asked_as_of_any_instant_and_as_it_was_known_then(book):
    book.clock.hours = 10
    book.take(made("A", 100, hours=1))
    book.clock.hours = 20
    book.take(gone("A", 40, hours=2))

    def had(hours, known=None):
        known_at = None if known is None else micros(known)
        found = book.reading(lambda ledger: ledger.balances_as_of(micros(hours), known_at=known_at))
        return [one.qty for one in found if one.account is Account.STOCK]

    assert (had(0), had(1), had(2), had(2, known=15)) == ([], [100], [60], [100])


def test_what_a_run_took_and_did_not_give_is_there_to_be_closed(book):
    book.take(ran({"A": 10}, {"B": 4}, run="urn:run:1"), ran({}, {"C": 5}, run="urn:run:1", hours=1))
    found = book.reading(lambda ledger: ledger.run("urn:run:1"))
    assert sum(one.kg for one in found) == 1


def test_books_of_two_prefixes_do_not_meet(book):
    other = FlowBook(book.database, "88.107.1002")
    book.take(made("A", 10, eventID="urn:e:1"))
    assert other.take(made("A", 12, eventID="urn:e:1")).errors == ()
    assert (stock(book), len(other.balances())) == (10, 1)


def test_content_is_returned_with_every_digit_and_member_it_came_with(book):
    event = an_event(
        action="ADD", quantityList=[some("A", "21.500")],
        **{"hz:axles": Decimal(6), "hz:big": Decimal("123456789012345678901234567890.10"), "hz:t": ["a", {"b": None}]},
    )  # fmt: skip
    book.take(event)
    with book.database.read() as connection:
        stored = EventRows(connection, 1).one(1)
    assert stored.content == event.content
    assert str(stored.content["quantityList"][0]["quantity"]) == "21.500"
    assert stored.uri == event.hash
    assert stored.context is None
    assert stored.event == event


def test_an_event_comes_back_under_the_context_it_came_with(book):
    spoken = {"hz": "https://ns.test/hz/"}
    first = replace(
        made("A", 1), context=["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld", spoken]
    )
    second = replace(made("B", 1), context=spoken)
    book.take(first, second, made("C", 1))
    with book.database.read() as connection:
        rows = EventRows(connection, 1)
        assert [rows.one(number).event for number in (1, 2)] == [first, second]
    book.take(replace(made("D", 1), context=dict(spoken)))
    with book.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM flow_context").scalar() == 2


def test_ownership_moves_beside_the_goods(book):
    sold = an_event(
        "TransactionEvent", action="ADD", quantityList=[some("A", 7)],
        bizTransactionList=[{"type": "po", "bizTransaction": waybill("P1")}],
        sourceList=[{"type": "owning_party", "source": party(OWNER)}],
        destinationList=[{"type": "owning_party", "destination": party("88.2")}],
    )  # fmt: skip
    book.take(made("A", 7), sold)
    assert stock(book) == 7
    owned = {key[1]: qty for key, qty in book.balances().items() if key[0] is Account.OWNED}
    assert owned == {OWNER: -7, "88.2": 7}
