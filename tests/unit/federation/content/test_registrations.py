from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.content.dataset import load_datasets
from federation.content.received import Received
from federation.content.registrations import seen_by
from registry.delegation import Purpose
from registry.errors import HazlinkError
from registry.identifier import Identifier, Prefix
from registry.record import GENERIC, Draft
from registry.results import IfPresent
from registry.value import FEDERATION, PRIVATE, Scope, Value, Visibility
from tests.support.content import (
    a_reporting_node,
    arrive,
    as_of,
    collected,
    entries_of,
    everything,
    registrations,
    two_tiers,
)
from tests.support.exchange_healing import whole_picture
from tests.support.prefixes import DAY, MovedClock, admin_of

NOW_TABLE = "t9=real-time"


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def park(tmp_path, clock):
    return a_reporting_node(tmp_path, clock)


def told(drafts):
    return [(e["content"]["identifier"], e["version"], e["operation"]) for e in entries_of(drafts)]


def failing(node, source, limit):
    """What a source gave in a transaction that was rolled back."""
    found = []
    try:
        with node.database.write() as connection:
            found += source.collect(connection, limit)
            raise RuntimeError
    except RuntimeError:
        return found


def test_a_registration_goes_up_to_the_parent_as_an_entry(park):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    park.register("88.107/B-1")
    (draft,) = collected(park, source)
    assert (draft.iss, draft.aud) == (Prefix("88.107"), Prefix("88"))
    assert (draft.stream, draft.type, draft.schema) == ("register", "dataset.entries", "t9/1")
    (entry,) = entries_of([draft])
    assert entry["content"] == {
        "identifier": "88.107/B-1",
        "created": "2026-09-21",
        "metadata": "generic",
        "status": "active",
    }
    assert (entry["version"], entry["operation"]) == (1, 1)
    assert collected(park, source) == []


def test_changes_and_deletions_follow_in_order(park):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    park.register("88.107/B-1", "one")
    assert told(collected(park, source)) == [("88.107/B-1", 1, 1)]
    park.register("88.107/B-1", "two")
    assert told(collected(park, source)) == [("88.107/B-1", 2, 3)]
    park.registry.delete(admin_of("88.107"), "88.107/B-1", reason="x")
    assert told(collected(park, source)) == [("88.107/B-1", 3, 2)]


def test_a_withdrawn_record_says_so(park):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    park.register("88.107/B-1")
    park.registry.withdraw(admin_of("88.107"), "88.107/B-1", reason="recalled")
    (entry,) = entries_of(collected(park, source))
    assert entry["content"]["status"] == "withdrawn"


def test_what_was_registered_before_the_first_look_is_read_from_the_beginning(park):
    for number in range(7):
        park.register(f"88.107/B-{number}")
    source = registrations(park, NOW_TABLE)
    found = told(everything(park, source))
    assert [name for name, _, _ in found] == [f"88.107/B-{number}" for number in range(7)]


def test_records_of_a_prefix_below_that_is_not_homed_on_its_own_go_along(park):
    source = registrations(park, NOW_TABLE)
    park.registry.register(admin_of("88.107"), Draft("88.107.5/X", GENERIC, (Value(1, "DESC", b"x"),)))
    assert ("88.107.5/X", 1, 1) in told(everything(park, source))


def test_the_table_waits_for_its_day(park, clock):
    source = registrations(park)
    collected(park, source)
    park.register("88.107/B-1")
    assert collected(park, source) == []
    clock.time += DAY
    park.register("88.107/B-2")
    assert [name for name, _, _ in told(collected(park, source))] == ["88.107/B-1", "88.107/B-2"]
    park.register("88.107/B-3")
    assert collected(park, source) == []


def test_a_transaction_that_fails_loses_nothing(park):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    park.register("88.107/B-1")
    assert told(failing(park, source, 10)) == [("88.107/B-1", 1, 1)]
    assert told(collected(park, source)) == [("88.107/B-1", 1, 1)]


def test_no_more_drafts_than_asked_for_and_the_rest_next_time(park):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    long = "长" * 80
    for number in range(450):
        park.register(f"88.107/{long}{number:04}")
    found = []
    while more := collected(park, source, 1):
        assert len(more) == 1
        assert len(more[0].body["entries"]) <= 200
        found += more
    assert len({name for name, _, _ in told(found)}) == 450
    assert len(found) >= 3


def test_values_that_are_private_never_go_up(park):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    values = (
        Value(1, "NAME_ZH", "公开".encode()),
        Value(2, "MAKER", "秘密".encode()).seen_as(PRIVATE),
        Value(3, "BRAND", "联邦".encode()).seen_as(FEDERATION),
        Value(4, "IMEI", b"86").seen_as(Visibility(Scope.PREFIXES, ("88",))),
        Value(5, "MADE", b"2026").seen_as(Visibility(Scope.PREFIXES, ("88.108",))),
    )
    park.registry.register(admin_of("88.107"), Draft("88.107/B-1", GENERIC, values))
    (entry,) = entries_of(collected(park, source))
    content = entry["content"]
    assert (content["name"], content["brand"]) == ("公开", "联邦")
    assert set(content["active_imei"]) == {"digest"}, "shown to 88, but as a digest only"
    assert {"maker", "made"}.isdisjoint(content)


def test_a_value_for_named_prefixes_must_be_for_every_tier_that_gets_it():
    only_park = Value(1, "X", b"1").seen_as(Visibility(Scope.PREFIXES, ("88.107",)))
    both = Value(2, "X", b"1").seen_as(Visibility(Scope.PREFIXES, ("88.107", "88")))
    receiver = Prefix("88.107")
    assert seen_by([only_park, both], receiver, passed_on=True) == [both]
    assert seen_by([only_park, both], receiver, passed_on=False) == [only_park, both]


def test_a_value_that_fits_no_field_is_named_and_stops_nothing(park):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    values = (Value(1, "NAME_ZH", ("x" * 400).encode()), Value(2, "BRAND", b"B"))
    park.registry.register(admin_of("88.107"), Draft("88.107/B-1", GENERIC, values))
    (entry,) = entries_of(collected(park, source))
    assert entry["withheld"] == ["name"]
    assert entry["content"]["brand"] == "B"


def test_the_day_of_the_first_version_stays(park, clock):
    source = registrations(park, NOW_TABLE)
    collected(park, source)
    park.register("88.107/B-1", "one")
    clock.time += 3 * DAY
    park.register("88.107/B-1", "two")
    assert entries_of(collected(park, source))[-1]["content"]["created"] == "2026-09-21"


def test_the_top_tells_nobody(tmp_path, clock):
    top, _ = two_tiers(tmp_path, clock)
    top.register("88/B-1")
    assert everything(top, registrations(top, NOW_TABLE)) == []


def test_a_hosted_prefix_reports_to_its_parent_on_the_same_node(park):
    park.prefixes.host(admin_of("88.107"), Prefix("88.107.1001"))
    park.register("88.107.1001/B-1")
    drafts = everything(park, registrations(park, NOW_TABLE))
    ways = {(d.iss.key, d.aud.key) for d in drafts if told([d])}
    assert ("88.107.1001", "88.107") in ways


def test_a_prefix_that_could_not_report_for_a_while_is_read_again(park):
    class Silenced:
        """The picture of the homed prefixes, one of them suspended at will."""

        silent = False

        def __init__(self, homes):
            self._homes = homes

        def __getattr__(self, name):
            return getattr(self._homes, name)

        def all(self):
            return () if self.silent else self._homes.all()

    park.prefixes.host(admin_of("88.107"), Prefix("88.107.1001"))
    homes = Silenced(park.homes)

    def some():
        return [h for h in park.homes.all() if not homes.silent or h.prefix.key != "88.107.1001"]

    homes.all = some
    source = registrations(park, NOW_TABLE)
    source._homes = homes
    everything(park, source)
    homes.silent = True
    park.register("88.107.1001/B-1")
    assert told(everything(park, source)) == []
    homes.silent = False
    assert ("88.107.1001/B-1", 1, 1) in told(everything(park, source))


def standing(top, *, gone=False):
    """What the superior holds, by identifier."""
    received = Received(database=top.database, datasets=load_datasets())
    return {
        one.key: (one.entry.content.get("name"), one.entry.operation, one.entry.version % 1_000_000)
        for one in received.entries(admin_of("88"), "t9", Prefix("88"), gone=gone)
    }


@pytest.mark.parametrize("again", ["not", "once", "twice", "deleted"])
def test_fault_14_a_record_told_after_the_backup_and_changed_again_after_the_restore_arrives_as_it_is(
    tmp_path, clock, again
):
    top, park = two_tiers(tmp_path, clock)
    source = registrations(park, NOW_TABLE)

    def tell(first):
        arrive(top.database, everything(park, source), first=first)

    def write(text):
        clock.time += 60
        values = (Value(1, "NAME_ZH", text.encode()),)
        draft = Draft("88.107/B-1", GENERIC, values)
        park.registry.register(admin_of("88.107"), draft, if_present=IfPresent.REPLACE)

    write("one")
    tell(1)
    picture = whole_picture(park.database)
    write("two")
    write("three")
    tell(100)
    assert standing(top)["88.107/B-1"][0] == "three"
    as_of(park, picture)
    if again != "not":
        write("four")  # version 2 once more, with other content
    if again == "twice":
        tell(200)
        write("five")
    if again == "deleted":
        park.registry.delete(admin_of("88.107"), "88.107/B-1", reason="x")
    tell(300)
    expected = {"not": ("one", 1), "once": ("four", 2), "twice": ("five", 3), "deleted": (None, 3)}[again]
    name, _, version = standing(top, gone=True)["88.107/B-1"]
    assert (name, version) == expected
    assert everything(park, source) == []
    write("six")
    tell(400)
    assert standing(top)["88.107/B-1"][0] == "six"


def test_fault_14_restored_twice_what_is_told_last_still_counts(tmp_path, clock):
    top, park = two_tiers(tmp_path, clock)
    source = registrations(park, NOW_TABLE)
    park.register("88.107/B-1", "one")
    arrive(top.database, everything(park, source))
    picture = whole_picture(park.database)
    for number, text in enumerate(("two", "three", "four"), 2):
        as_of(park, picture)
        clock.time += 1
        park.register("88.107/B-1", text)
        arrive(top.database, everything(park, source), first=number * 100)
        assert standing(top)["88.107/B-1"][2] == 2
        held = Received(database=top.database, datasets=load_datasets())
        (entry,) = [
            one for one in held.entries(admin_of("88"), "t9", Prefix("88")) if one.key == "88.107/B-1"
        ]
        assert entry.entry.at == int(clock.time)


def test_a_node_that_took_a_prefix_over_is_newer_than_the_one_that_told_of_it_before(tmp_path, clock):
    _, park = two_tiers(tmp_path, clock)
    source = registrations(park, NOW_TABLE)
    homes = park.homes

    class Handed:
        """As the homes of the park, which got its prefix by a hand-over."""

        def __getattr__(self, name):
            return getattr(homes, name)

        def all(self):
            return [
                replace(home, superior=replace(home.superior, purpose=Purpose.HANDOVER))
                for home in homes.all()
            ]

    source._homes = Handed()
    park.register("88.107/B-1")
    assert told(everything(park, source)) == [("88.107/B-1", int(clock.now()) * 1_000_000 + 1, 1)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_the_receiver_ends_up_with_what_stands_there(tmp_path_factory, data):
    clock = MovedClock()
    top, park = two_tiers(tmp_path_factory.mktemp("run"), clock)
    source = registrations(park, NOW_TABLE)
    names = [f"88.107/B-{number}" for number in range(4)]
    first = 1
    for _ in range(data.draw(st.integers(1, 12))):
        name = data.draw(st.sampled_from(names))
        step = data.draw(st.sampled_from(["write", "delete", "collect", "fail"]))
        clock.time += 1
        if step == "write":
            park.registry.register(
                admin_of("88.107"),
                Draft(name, GENERIC, (Value(1, "NAME_ZH", str(clock.time).encode()),)),
                if_present=IfPresent.REPLACE,
            )
        elif step == "delete":
            try:
                park.registry.delete(admin_of("88.107"), name, reason="x")
            except HazlinkError:
                continue
        elif step == "collect":
            drafts = collected(park, source, data.draw(st.integers(1, 3)))
            arrive(top.database, drafts * 2, first=first)
            first += len(drafts)
        else:
            failing(park, source, 2)
    arrive(top.database, everything(park, source), first=first)
    received = Received(database=top.database, datasets=load_datasets())
    arrived = {
        one.key: (one.entry.version, one.entry.content["status"])
        for one in received.entries(admin_of("88"), "t9", Prefix("88"), gone=True)
    }
    stands = {
        r.identifier.key: (r.version, r.status.name.lower())
        for r in park.registry.records([Identifier.parse(name) for name in names])
        if r is not None
    }
    assert arrived == stands
