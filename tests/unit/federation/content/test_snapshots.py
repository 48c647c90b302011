"""Subjects, routes, templates, figures and what people enter, as they go up and arrive."""

import pytest

from federation.content.dataset import load_datasets
from federation.content.measuring import Meter
from federation.content.own import OwnEntries
from federation.content.received import Received
from federation.content.snapshots import Snapshots
from federation.content.sources import sources
from registry.errors import (
    ForbiddenError,
    InvalidValueError,
    LimitError,
    NotFoundError,
    NotResponsibleError,
    UnauthenticatedError,
)
from registry.identifier import Prefix
from registry.principal import ANONYMOUS
from registry.record import Draft
from registry.template import load_templates
from tests.support.content import a_policy, arrive, as_of, collected, entries_of, everything, two_tiers
from tests.support.exchange_healing import whole_picture
from tests.support.prefixes import DAY, HOUR, MovedClock, a_node, admin_of, joined

PARK, TOP = Prefix("88.107"), Prefix("88")


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def tiers(tmp_path, clock):
    return two_tiers(tmp_path, clock)


@pytest.fixture
def park(tiers):
    return tiers[1]


def source_of(node, name, *rhythms, rules=()):
    made = sources(
        homes=node.homes,
        datasets=load_datasets(),
        policy=a_policy(*rhythms, rules=rules),
        clock=node.clock,
        templates=load_templates(),
    )
    return next(one for one in made if isinstance(one, Snapshots) and one._dataset.name == name)


def told(node, source):
    node.clock.time += 11
    return entries_of(everything(node, source))


def own_entries(node):
    return OwnEntries(database=node.database, datasets=load_datasets(), homes=node.homes, clock=node.clock)


def enterprise(node, identifier, **fields):
    draft = Draft(
        identifier, "enterprise", fields={"NAME_ZH": "示例化工", "USCC": "91370200MA3C00000K"} | fields
    )
    node.registry.register(admin_of(identifier.partition("/")[0]), draft)


def test_every_dataset_that_is_not_a_notice_has_one_source(park):
    made = sources(
        homes=park.homes,
        datasets=load_datasets(),
        policy=a_policy(),
        clock=park.clock,
        templates=load_templates(),
    )
    names = [one._dataset.name for one in made]
    assert sorted(names) == sorted(set(load_datasets().names()) - {"alarm", "incidents"})


def test_a_prefix_tells_who_it_belongs_to_and_again_only_when_that_changed(park):
    source = source_of(park, "t1")
    (first,) = told(park, source)
    assert first["content"] == {"prefix": "88.107"}
    assert told(park, source) == []
    enterprise(park, "88.107/ENTERPRISE", ADDRESS="青岛")
    (entry,) = told(park, source)
    assert entry["version"] > first["version"]
    assert entry["content"] == {
        "prefix": "88.107",
        "name": "示例化工",
        "papers": ["91370200MA3C00000K"],
        "address": "青岛",
    }
    assert told(park, source) == []


def test_its_addresses_are_those_of_its_delegation(park):
    (entry,) = told(park, source_of(park, "t2"))
    assert entry["content"] == {
        "prefix": "88.107",
        "code_type": "HANDLE",
        "routes": [{"host": "below.example", "protocol": "HTTPS", "port": 443}],
    }


def test_enterprises_below_are_told_hourly_as_they_come_and_go(tmp_path, park, clock):
    subjects, routes = source_of(park, "t6"), source_of(park, "t7")
    assert told(park, subjects) == []
    joined(park, a_node(tmp_path, "firm", clock), "88.107.1001")
    assert told(park, subjects) == [], "not before the hour is over"
    clock.time += HOUR
    (entry,) = told(park, subjects)
    assert entry["content"] == {
        "prefix": "88.107.1001",
        "name": "示例化工有限公司",
        "contact_phone": "13000000000",
    }
    assert told(park, routes)[0]["content"]["routes"][0]["host"] == "firm.example"
    park.prefixes.revoke(admin_of("88.107"), Prefix("88.107.1001"), reason="closed")
    clock.time += HOUR
    (entry,) = told(park, subjects)
    assert (entry["operation"], entry["content"]) == (2, {"prefix": "88.107.1001"})
    clock.time += HOUR
    assert told(park, subjects) == []


def test_what_an_enterprise_said_of_itself_goes_on_to_the_top_but_digests_do_not(tmp_path, park, clock):
    firm = a_node(tmp_path, "firm", clock)
    joined(park, firm, "88.107.1001")
    enterprise(firm, "88.107.1001/ENTERPRISE", ADDRESS="青岛", CONTACT="张三")
    firm_source = source_of(firm, "t1", rules=["t1.contact@secondary=digest"])
    clock.time += 11
    arrive(park.database, everything(firm, firm_source))
    clock.time += HOUR
    (entry,) = told(park, source_of(park, "t6"))
    assert entry["content"]["name"] == "示例化工"
    assert entry["content"]["address"] == "青岛"
    assert "contact" not in entry["content"]


def test_a_hosted_enterprise_is_told_from_its_own_record(park, clock):
    park.prefixes.host(admin_of("88.107"), Prefix("88.107.1001"))
    enterprise(park, "88.107.1001/ENTERPRISE", ADDRESS="青岛")
    (entry,) = told(park, source_of(park, "t6"))
    assert entry["content"]["address"] == "青岛"


def test_templates_are_told_once_by_node_and_enterprise_each_in_its_table(park):
    park.prefixes.host(admin_of("88.107"), Prefix("88.107.1001"))
    node = told(park, source_of(park, "t4"))
    firm = told(park, source_of(park, "t11"))
    assert {e["content"]["code"].partition(":")[0] for e in node} == {"88.107"}
    assert {e["content"]["code"].partition(":")[0] for e in firm} == {"88.107.1001"}
    batch = next(e["content"] for e in node if e["content"]["object_type"] == "batch")
    assert {"name": "BATCH_NO", "alias": "批号", "type": "string", "length": 64} in batch["items"]
    assert told(park, source_of(park, "t4")) == []


def test_figures_of_a_day_go_up_when_it_is_over(park, clock):
    meter = Meter(database=park.database, clock=clock)
    for number in range(5):
        meter.resolved(PARK, found=number != 0, seconds=0.001 * (number + 1), address=f"10.0.0.{number % 2}")
    meter.registered(PARK, good=True, seconds=0.5)
    assert meter.flush() > 0
    assert meter.flush() == 0
    park.prefixes.host(admin_of("88.107"), Prefix("88.107.1001"))
    enterprise(park, "88.107.1001/ENTERPRISE")
    clock.time += DAY
    (node,) = told(park, source_of(park, "t3"))
    assert node["content"] == {
        "key": "88.107@2026-09-21",
        "prefix": "88.107",
        "day": "2026-09-21",
        "new": 1,
        "total": 1,
        "queries": 5,
        "successes": 4,
        "sources": [{"address": "10.0.0.0", "count": 3}, {"address": "10.0.0.1", "count": 2}],
    }
    (firm,) = told(park, source_of(park, "t8"))
    assert (firm["content"]["prefix"], firm["content"]["new"], firm["content"]["total"]) == (
        "88.107.1001",
        1,
        1,
    )
    watched = {e["content"]["prefix"]: e["content"] for e in told(park, source_of(park, "node-statistics"))}
    assert watched["88.107"]["resolution"]["max_ms"] == 5.0
    assert watched["88.107"]["resolution"]["avg_ms"] == 3.0
    assert watched["88.107"]["registration"]["min_ms"] == 500.0
    assert watched["88.107"]["peak"]["per_second"] == 5
    assert "resolution" not in watched["88.107.1001"]
    clock.time += DAY
    (next_day,) = told(park, source_of(park, "t3"))
    assert next_day["content"]["day"] == "2026-09-22", "the day before stays as it was told"


def test_the_meter_keeps_what_it_could_not_write(park, clock, monkeypatch):
    meter = Meter(database=park.database, clock=clock)
    meter.resolved(PARK, found=True, seconds=0.001, address="a")
    with monkeypatch.context() as patch:
        patch.setattr(park.database, "write", lambda: (_ for _ in ()).throw(OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            meter.flush()
    meter.resolved(PARK, found=True, seconds=0.001, address="a")
    meter.flush()
    clock.time += DAY
    (entry,) = told(park, source_of(park, "t3"))
    assert (entry["content"]["queries"], entry["content"]["sources"]) == (2, [{"address": "a", "count": 2}])


def test_the_meter_tells_apart_only_so_many_addresses(park, clock):
    meter = Meter(database=park.database, clock=clock)
    for number in range(600):
        meter.resolved(PARK, found=True, seconds=0.001, address=f"a{number}")
    meter.flush()
    clock.time += DAY
    (entry,) = told(park, source_of(park, "t3"))
    counted = {row["address"]: row["count"] for row in entry["content"]["sources"]}
    assert (len(counted), counted["others"], sum(counted.values())) == (501, 100, 600)


def test_a_look_without_room_is_taken_up_again(park, monkeypatch):
    monkeypatch.setattr("federation.content.packing.MAX_ENTRIES", 2)
    source = source_of(park, "t4")
    found = []
    park.clock.time += 11
    while more := collected(park, source, 1):
        assert len(more) == 1
        found += more
    codes = [e["content"]["code"] for e in entries_of(found)]
    assert len(codes) == len(set(codes)) == 10


def test_what_people_enter_stands_over_what_is_derived(park):
    enterprise(park, "88.107/ENTERPRISE", ADDRESS="青岛")
    own = own_entries(park)
    own.put(admin_of("88.107"), "t1", PARK, {"prefix": "88.107", "address": "烟台", "verified": True})
    (entry,) = told(park, source_of(park, "t1"))
    assert entry["content"]["address"] == "烟台"
    assert (entry["content"]["verified"], entry["content"]["name"]) == (True, "示例化工")
    own.remove(admin_of("88.107"), "t1", PARK, "88.107")
    (entry,) = told(park, source_of(park, "t1"))
    assert entry["content"]["address"] == "青岛"


def test_applications_exist_only_as_people_enter_them(park):
    source = source_of(park, "t5", "t5=real-time")
    own = own_entries(park)
    own.put(admin_of("88.107"), "t5", PARK, {"code": "app-1", "name": "扫码", "type": 2})
    (entry,) = told(park, source)
    assert entry["content"]["name"] == "扫码"
    assert [one.key for one in own.entries(admin_of("88.107"), "t5", PARK)] == ["app-1"]
    own.remove(admin_of("88.107"), "t5", PARK, "app-1")
    (entry,) = told(park, source)
    assert entry["operation"] == 2


def test_what_people_enter_is_checked_before_it_is_kept(park, tiers):
    own, who = own_entries(park), admin_of("88.107")
    for content in (
        {"prefix": "88.107", "unknown": 1},
        {"name": "no key"},
        {"prefix": "88.108"},
        {"prefix": "88.107", "verified": "yes"},
    ):
        with pytest.raises(InvalidValueError):
            own.put(who, "t1", PARK, content)
    with pytest.raises(InvalidValueError):
        own.put(who, "t5", PARK, {"code": "a\0", "name": "x", "type": 1})
    with pytest.raises(NotFoundError):
        own.remove(who, "t5", PARK, "a\0")
    with pytest.raises(InvalidValueError):
        own.put(who, "t9", PARK, {"identifier": "88.107/B"})
    with pytest.raises(NotFoundError):
        own.put(who, "t12", PARK, {})
    with pytest.raises(NotFoundError):
        own.remove(who, "t1", PARK, "88.107")
    with pytest.raises(ForbiddenError):
        own.put(admin_of("88"), "t1", PARK, {"prefix": "88.107"})
    with pytest.raises(UnauthenticatedError):
        own.entries(ANONYMOUS, "t1", PARK)
    with pytest.raises(NotResponsibleError):
        own_entries(tiers[0]).put(admin_of("88"), "t1", TOP, {"prefix": "88"})


def test_who_may_not_list_a_prefix_sees_nothing_of_what_arrived(tiers):
    top, park = tiers
    park.clock.time += 11
    arrive(top.database, everything(park, source_of(park, "t1")))
    received = Received(database=top.database, datasets=load_datasets())
    assert received.overview(admin_of("88"), TOP) == {"t1": 1}
    for nobody, refusal in ((ANONYMOUS, UnauthenticatedError), (admin_of("88.107"), ForbiddenError)):
        with pytest.raises(refusal):
            received.overview(nobody, TOP)
        with pytest.raises(refusal):
            received.entries(nobody, "t1", TOP)
    for limit in (0, 1001):
        with pytest.raises(LimitError):
            received.entries(admin_of("88"), "t1", TOP, limit=limit)
    with pytest.raises(NotFoundError):
        received.entries(admin_of("88"), "t12", TOP)


def an_app(name):
    return {"code": "app-1", "name": name, "type": 2}


def later(node, source):
    """The drafts of the next look."""
    node.clock.time += 11
    return everything(node, source)


def test_fault_14_what_was_entered_after_the_backup_is_told_as_it_stands_after_the_restore(tiers, clock):
    top, park = tiers
    source = source_of(park, "t5", "t5=real-time")
    entries, admin = own_entries(park), admin_of("88.107")
    entries.put(admin, "t5", PARK, an_app("one"))
    arrive(top.database, later(park, source), first=1)
    picture = whole_picture(park.database)
    entries.put(admin, "t5", PARK, an_app("two"))
    arrive(top.database, later(park, source), first=100)
    as_of(park, picture)
    arrive(top.database, later(park, source), first=200)
    (held,) = Received(database=top.database, datasets=load_datasets()).entries(admin_of("88"), "t5", TOP)
    assert held.entry.content["name"] == "one"
    # once is enough
    assert later(park, source) == []


def test_fault_14_what_was_taken_back_before_the_backup_and_entered_after_it_is_gone_after_the_restore(
    tiers, clock
):
    top, park = tiers
    source = source_of(park, "t5", "t5=real-time")
    entries, admin = own_entries(park), admin_of("88.107")
    entries.put(admin, "t5", PARK, an_app("one"))
    arrive(top.database, later(park, source), first=1)
    entries.remove(admin, "t5", PARK, "app-1")
    arrive(top.database, later(park, source), first=50)
    picture = whole_picture(park.database)
    entries.put(admin, "t5", PARK, an_app("two"))
    arrive(top.database, later(park, source), first=100)
    as_of(park, picture)
    arrive(top.database, later(park, source), first=200)
    assert Received(database=top.database, datasets=load_datasets()).entries(admin_of("88"), "t5", TOP) == []
    assert later(park, source) == []


def test_fault_14_figures_of_a_day_that_were_told_are_not_made_smaller_by_a_restore(tiers, clock):
    _, park = tiers
    source = source_of(park, "node-statistics")
    picture = whole_picture(park.database)
    clock.time += DAY
    assert entries_of(everything(park, source))
    as_of(park, picture)
    source = source_of(park, "node-statistics")
    assert everything(park, source) == []
    clock.time += DAY
    assert entries_of(everything(park, source))
