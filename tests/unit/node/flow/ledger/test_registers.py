import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from node.flow.ledger.registers import (
    Flow,
    FlowKind,
    Particulars,
    Register,
    Subject,
    entries,
    flows,
    rule_for,
    rules,
    to_csv,
)
from tests.support.flow import OWNER, gone, lot, made, moved, party, ran, waybill

TOXIC = frozenset({Register.HIGHLY_TOXIC})


def a_flow(day, kind=FlowKind.SALE, **how):
    time = (
        datetime.fromisoformat(day).replace(tzinfo=UTC)
        if "T" in day
        else datetime.fromisoformat(f"{day}T04:00:00+00:00")
    )
    return Flow(**{
        "event_id": "urn:e:1", "time": time, "kind": kind, "batch": lot("A"), "qty": Decimal("1.50"), "uom": "KGM",
        "kg": Decimal("1.50"), "party": party("88.2"), "document": waybill("W1"), **how,
    })  # fmt: skip


def entered(flow, registers=TOXIC, **how):
    return entries([flow], {lot("A"): Subject("氰化钠", frozenset(registers))}, **how)


@pytest.mark.parametrize(
    ("register", "kind", "day", "days", "source"),
    [
        (Register.HIGHLY_TOXIC, FlowKind.SALE, "2026-04-30", 5, "591"),
        (Register.HIGHLY_TOXIC, FlowKind.SALE, "2026-05-01", 3, "Law"),
        (Register.EXPLOSIVE_PRECURSOR, FlowKind.PURCHASE, "2026-05-01", 3, "Law"),
        (Register.EXPLOSIVE_PRECURSOR, FlowKind.TRANSFER, "2026-05-01", 3, "Law"),
        (Register.HIGHLY_TOXIC, FlowKind.LOSS, "2026-06-01", 0, "Law"),
        (Register.DRUG_PRECURSOR_1, FlowKind.SALE, "2026-06-01", 5, "445"),
        (Register.DRUG_PRECURSOR_2, FlowKind.SALE, "2026-06-01", 30, "445"),
        (Register.DRUG_PRECURSOR_3, FlowKind.SALE, "2026-06-01", 30, "445"),
    ],
)
def test_the_rule_in_force_on_the_day_decides(register, kind, day, days, source):
    rule = rule_for(register, kind, date.fromisoformat(day))
    assert rule.days == days
    assert source in rule.source


def test_where_no_rule_is_in_force_nothing_has_to_be_reported():
    assert rule_for(Register.HIGHLY_TOXIC, FlowKind.TRANSFER, date(2026, 4, 30)) is None
    (entry,) = entered(a_flow("2026-06-01", FlowKind.USE))
    assert (entry.due, entry.state(date(2030, 1, 1))) == (None, "recorded")


def test_no_day_has_two_rules_for_the_same_thing():
    for rule in rules():
        for register in rule.registers:
            for kind in rule.flows:
                holding = [one for one in rules() if one.holds(register, kind, rule.since)]
                assert holding == [rule]


def test_the_last_day_counts_calendar_days_and_the_day_is_that_of_beijing():
    (entry,) = entered(a_flow("2026-05-01"))
    assert (entry.due, entry.keep_until) == (date(2026, 5, 4), date(2029, 5, 1))
    (late_evening,) = entered(a_flow("2026-04-30T17:00:00"))
    assert late_evening.flow.day == date(2026, 5, 1)
    assert late_evening.rule.days == 3


def test_a_record_of_the_29th_of_february_is_kept_through_the_last_one():
    (entry,) = entered(a_flow("2028-02-29"))
    assert entry.keep_until == date(2031, 3, 1)


def test_an_entry_is_open_overdue_reported_or_late():
    (entry,) = entered(a_flow("2026-05-01"))
    assert entry.state(date(2026, 5, 4)) == "open"
    assert entry.state(date(2026, 5, 5)) == "overdue"
    for day, state in ((date(2026, 5, 4), "reported"), (date(2026, 5, 5), "late")):
        (told,) = entered(a_flow("2026-05-01"), reported={("urn:e:1", Register.HIGHLY_TOXIC): day})
        assert told.state(date(2027, 1, 1)) == state


def test_a_batch_is_on_each_register_it_belongs_to_and_no_other():
    both = entered(a_flow("2026-05-01"), {Register.HIGHLY_TOXIC, Register.DRUG_PRECURSOR_1})
    assert [(entry.register, entry.rule.days) for entry in both] == [
        (Register.DRUG_PRECURSOR_1, 5),
        (Register.HIGHLY_TOXIC, 3),
    ]
    assert entries([a_flow("2026-05-01")], {}) == ()


def kinds(*events):
    return [(flow.kind, str(flow.qty), flow.party) for flow in flows(events, OWNER)]


def test_flows_are_told_once_by_the_event_with_most_authority():
    to = {"destinationList": [{"type": "possessing_party", "destination": party("88.2")}]}
    sold = moved("shipping", "A", 29, hours=2, **to)
    assert kinds(moved("departing", "A", 30, hours=1, **to), sold) == [(FlowKind.SALE, "29", party("88.2"))]
    came = {"sourceList": [{"type": "possessing_party", "source": party("88.2")}]}
    assert kinds(moved("receiving", "A", 5, bill=None, **came)) == [(FlowKind.PURCHASE, "5", party("88.2"))]
    home = {"destinationList": [{"type": "possessing_party", "destination": party(OWNER)}]}
    assert kinds(moved("shipping", "A", 29, **home)) == []


def test_production_use_and_loss_are_flows_too():
    assert kinds(made("A", 10), ran({"A": 4}, {"B": 3}, hours=1), gone("A", 1, hours=2, step="other", disposition="stolen")) == [
        (FlowKind.PRODUCTION, "10", ""),
        (FlowKind.USE, "4", ""),
        (FlowKind.PRODUCTION, "3", ""),
        (FlowKind.LOSS, "1", ""),
    ]  # fmt: skip


def table(some, **how):
    return list(csv.DictReader(io.StringIO(to_csv(some, today=date(2026, 5, 5), **how))))


def test_the_table_has_every_figure_and_the_rule_it_goes_by():
    some = entered(
        a_flow("2026-05-01"),
        particulars={"urn:e:1": Particulars("园区路1号", "李四", "110101199003070000", "电镀")},
    )
    (row,) = table(some, language="en")
    assert row["quantity"] == "1.50"
    assert (row["report by"], row["state"]) == ("2026-05-04", "overdue")
    assert "Article 61" in row["rule"]
    (row,) = table(some)
    assert (row["登记簿"], row["流向"], row["经办人"]) == ("剧毒化学品", "销售", "李四")


def test_an_id_number_is_in_the_table_only_when_it_is_asked_for():
    some = entered(
        a_flow("2026-05-01"), particulars={"urn:e:1": Particulars(handler_id="110101199003070000")}
    )
    assert "110101199003070000" not in to_csv(some, today=date(2026, 5, 5))
    assert "110101199003070000" in to_csv(some, today=date(2026, 5, 5), personal=True)


def test_nothing_in_the_table_is_a_formula_to_a_spreadsheet():
    some = entered(a_flow("2026-05-01"), particulars={"urn:e:1": Particulars(use="=1+1")})
    assert table(some, language="en")[0]["use"] == "'=1+1"
