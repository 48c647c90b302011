"""The tables of this room on each kind of database."""

import pytest

from federation.content.dataset import Entry, Operation, load_datasets
from federation.content.storage.measures import Measure, MeasureUnit
from federation.content.storage.receiving import ReceivedUnit
from federation.content.storage.sending import Backfill, Cursor, SendingUnit
from federation.escrow.storage import EscrowUnit
from registry.identifier import Prefix

T9 = load_datasets().newest("t9")
TOP, PARK = Prefix("88"), Prefix("88.107")


@pytest.fixture
def tables(database):
    return database


def content(name, /, **other):
    return {"identifier": name, "created": "2026-09-21", "metadata": "batch/1", "status": "active"} | other


def take(tables, *entries, owner=PARK, env="e" * 43):
    with tables.write() as connection:
        ReceivedUnit(connection).take(
            T9, entries, receiver=TOP, owner=owner, env=env, via=("88.107",), received_at=9
        )


def entries(tables, **other):
    with tables.read() as connection:
        return ReceivedUnit(connection).entries("t9", TOP, **other)


def test_the_newest_version_stays_whatever_comes_late_or_twice(tables):
    old = Entry(1, Operation.ADD, 1, content("88.107/B-1", name="old"))
    new = Entry(2, Operation.MODIFY, 2, content("88.107/b-1", name="new"), ("maker",))
    take(tables, new, env="n" * 43)
    take(tables, old, new, old, env="o" * 43)
    (found,) = entries(tables)
    assert found.entry == new
    assert (found.env, found.via, found.key) == ("n" * 43, ("88.107",), "88.107/B-1")


def test_entries_are_paged_by_owner_and_key_and_deleted_ones_only_when_asked(tables):
    for number in range(5):
        take(tables, Entry(1, Operation.ADD, 1, content(f"88.107/B-{number}")))
    take(tables, Entry(2, Operation.DELETE, 2, content("88.107/B-2")))
    take(tables, Entry(1, Operation.ADD, 1, content("88.108/B-1")), owner=Prefix("88.108"))
    first = entries(tables, limit=2)
    rest = entries(tables, after=(first[-1].owner.key, first[-1].key))
    keys = [one.key for one in (*first, *rest)]
    assert keys == ["88.107/B-0", "88.107/B-1", "88.107/B-3", "88.107/B-4", "88.108/B-1"]
    assert len(entries(tables, gone=True)) == 6
    assert [one.key for one in entries(tables, owner=Prefix("88.108"))] == ["88.108/B-1"]
    with tables.read() as connection:
        assert ReceivedUnit(connection).counts(TOP) == {"t9": 5}
        assert ReceivedUnit(connection).counts(PARK) == {}
        assert ReceivedUnit(connection).one("t9", TOP, PARK, "88.107/B-0").received_at == 9
        assert ReceivedUnit(connection).one("t9", TOP, PARK, "88.107/B-9") is None


def test_one_owner_never_touches_the_entry_of_another(tables):
    take(tables, Entry(1, Operation.ADD, 1, content("88.107/B-1", name="mine")))
    take(tables, Entry(9, Operation.MODIFY, 9, content("88.107/B-1", name="theirs")), owner=Prefix("88.108"))
    assert [one.entry.content["name"] for one in entries(tables)] == ["mine", "theirs"]


def test_cursors_and_what_was_sent_are_remembered(tables):
    with tables.write() as connection:
        unit = SendingUnit(connection)
        assert unit.cursor("t9") is None
        unit.put_cursor("t9", Cursor(1, 2, 3))
        unit.put_cursor("t9", Cursor(4, 5, 6))
        unit.put_backfill("88.107", Backfill("88.107", "B"))
        unit.put_backfill("88.107", Backfill("88.107", "C", done=True, since=5))
        unit.put_sent("t1", "88.107", [("k", 1, b"d" * 32, False)])
        unit.put_sent("t1", "88.107", [("k", 2, b"e" * 32, True)])
    with tables.read() as connection:
        unit = SendingUnit(connection)
        assert unit.cursor("t9") == Cursor(4, 5, 6)
        assert unit.backfills() == {"88.107": Backfill("88.107", "C", done=True, since=5)}
        assert unit.sent("t1", "88.107") == {"k": (2, b"e" * 32, True)}


def test_versions_of_notices_grow(tables):
    with tables.write() as connection:
        unit = SendingUnit(connection)
        assert [unit.next_version("alarm", "88.107", "A", 7) for _ in range(3)] == [
            (7, True),
            (8, False),
            (9, False),
        ]
        assert unit.open_fault("88.107", "f") is None
        unit.put_fault("88.107", "f", 2)
        assert unit.open_fault("88.107", "f") == 2


def test_what_people_entered_is_kept_and_removed(tables):
    with tables.write() as connection:
        unit = SendingUnit(connection)
        unit.put_own("t5", "88.107", "k", {"a": 1}, at=1, who="w")
        unit.put_own("t5", "88.107", "k", {"a": 2}, at=2, who="v")
        assert unit.own("t5", "88.107") == [("k", {"a": 2}, 2, "v")]
        assert unit.drop_own("t5", "88.107", "k")
        assert not unit.drop_own("t5", "88.107", "k")


def test_figures_are_added_to_what_stands_there(tables):
    one = Measure(2, 1, 30.0, 20.0, 5, 10.0, 6, 2, 5)
    other = Measure(1, 1, 40.0, 40.0, 7, 40.0, 7, 1, 7)
    with tables.write() as connection:
        unit = MeasureUnit(connection)
        unit.add({("88", "2026-09-21", "resolution"): one})
        unit.add({("88", "2026-09-21", "resolution"): other})
        unit.add_askers({("88", "2026-09-21"): {"a": 2, "b": 5}})
        unit.add_askers({("88", "2026-09-21"): {"a": 4}})
    with tables.read() as connection:
        unit = MeasureUnit(connection)
        assert unit.of("88", "2026-09-22", "resolution") == Measure()
        whole = unit.of("88", "2026-09-21", "resolution")
        assert whole == Measure(3, 2, 70.0, 40.0, 7, 10.0, 6, 2, 5)
        assert unit.askers("88", "2026-09-21", 10) == [("a", 6), ("b", 5)]
        assert unit.askers("88", "2026-09-21", 1) == [("a", 6)]


def test_the_registrys_tables_can_be_asked_when_they_are_empty(tables):
    with tables.read() as connection:
        unit = SendingUnit(connection)
        assert unit.last_change() == 0
        assert unit.changes(0, 10, 10) == []
        assert unit.records([("88.107", "B")]) == {}
        assert unit.records_after(PARK, "", "", 10) == []
        assert unit.created("88.107", ["B"]) == {}
        assert (unit.count_records(PARK), unit.count_registered(PARK, 0, 9)) == (0, 0)


def test_deposits_and_take_overs_are_kept(tables):
    row = {
        "receiver": "88", "owner": "88.107", "kind": "FULL", "base": 0, "watermark": 5, "parts": 1,
        "records": 2, "kid": "k", "manifest": "m", "env": "e" * 43, "at": 1,
    }  # fmt: skip
    part = {"receiver": "88", "owner": "88.107", "part": 1, "sha256": b"s" * 32, "at": 1}
    with tables.write() as connection:
        unit = EscrowUnit(connection)
        for rev in (1, 2, 3):
            unit.add_part(part | {"deposit": f"d{rev}", "data": b"old"})
            unit.add_part(part | {"deposit": f"d{rev}", "data": f"data {rev}".encode()})
            unit.add_held(row | {"rev": rev, "deposit": f"d{rev}"})
        unit.add_part(part | {"deposit": "stray", "data": b"x"})
        unit.drop_held("88", "88.107", 2)
        assert [one["rev"] for one in unit.held("88")] == [3, 2]
        assert unit.part_data("88", "88.107", "d2", 1) == b"data 2"
        assert unit.part_data("88", "88.107", "d1", 1) is None
        assert unit.part_digests("88", "88.107", "stray") == []
        unit.put_superior_key("88.107", "88", "k1", b"1" * 32, 1)
        unit.put_superior_key("88.107", "88", "k2", b"2" * 32, 2)
        assert unit.superior_keys() == {"88.107": ("88", "k2", b"2" * 32)}
        unit.put_announced("88", "88.107", "k1")
        unit.put_announced("88", "88.107", "k2")
        assert unit.announced() == {("88", "88.107"): "k2"}
        begun = {
            "owner": "88.107", "receiver": "88", "rev": 3, "chain": "c", "records": 2, "refused": 0,
            "reason": "r", "deposit_at": 1, "began_at": 1, "began_by": "w",
        }  # fmt: skip
        unit.begin_takeover(begun)
        assert unit.end_takeover("88.107", at=2, by="v")
        assert not unit.end_takeover("88.107", at=2, by="v")
        unit.begin_takeover(begun)
        assert [one["number"] for one in unit.takeovers()] == [2, 1]
        assert len(unit.takeovers(open_only=True)) == 1
        assert unit.records_after(PARK, "", "", 5) == unit.delegations_below(PARK) == []
        assert unit.changed(0, 9, 9) == unit.records([("88.107", "B")]) == unit.roots() == []


def test_who_relayed_it_stands_at_every_entry_of_an_envelope(tables):
    with tables.write() as connection:
        ReceivedUnit(connection).take(
            T9,
            [Entry(1, Operation.ADD, 1, content(f"88.107/B-{number}")) for number in range(3)],
            receiver=TOP, owner=PARK, env="e" * 43, via=iter(["88.107"]), received_at=9,
        )  # fmt: skip
    assert [one.via for one in entries(tables)] == [("88.107",)] * 3
