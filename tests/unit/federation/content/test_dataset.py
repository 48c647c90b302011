import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.content.dataset import MAX_ENTRIES, Entry, Operation, Rhythm, Tier, load_datasets, tier_of
from federation.exchange.streams import is_stream
from registry.errors import HazlinkError, InvalidValueError, LimitError, MalformedError, NotFoundError
from registry.identifier import Prefix

ALL = list(load_datasets())
T9 = load_datasets().newest("t9")
CONTENT = {
    "identifier": "88.107/B-1",
    "created": "2026-09-21",
    "metadata": "batch/1",
    "status": "active",
}


def entry(**other):
    return {"version": 1, "operation": 1, "at": 5, "content": CONTENT} | other


def body(*entries):
    return {"dataset": "t9", "entries": list(entries)}


def test_the_tables_of_the_docking_guide_and_the_nodes_own_are_declared():
    wanted = {f"t{number}" for number in range(1, 12)} | {"node-statistics", "incidents", "alarm"}
    assert set(load_datasets().names()) == wanted
    assert load_datasets().newest("t1").rhythm is Rhythm.REAL_TIME
    assert {load_datasets().newest(name).rhythm for name in ("t6", "t7")} == {Rhythm.HOURLY}
    assert {load_datasets().newest(name).rhythm for name in ("t3", "t4", "t8", "t9")} == {Rhythm.DAILY}
    assert {load_datasets().newest(name).rhythm for name in ("t5", "t10")} == {Rhythm.MONTHLY}


@pytest.mark.parametrize("dataset", ALL, ids=lambda one: one.schema)
def test_each_declaration_is_whole(dataset):
    assert is_stream(dataset.stream)
    assert dataset.fields[dataset.key].required
    assert set(dataset.title) == {"zh", "en"}
    assert all(set(field.title) == {"zh", "en"} for field in dataset.fields.values())
    assert dataset.definition in {"docking", "own"}


def test_datasets_of_one_type_travel_alike():
    by_type = {}
    for dataset in ALL:
        by_type.setdefault(dataset.type, set()).add((dataset.stream, dataset.relay))
    assert all(len(ways) == 1 for ways in by_type.values())


def test_an_unknown_dataset_is_not_found():
    with pytest.raises(NotFoundError):
        load_datasets().newest("t12")


def test_a_body_is_read_as_it_was_written():
    made = Entry(3, Operation.MODIFY, 7, CONTENT, ("maker",))
    assert T9.read(orjson.loads(orjson.dumps(T9.body([made])))) == (made,)


def test_a_field_may_be_a_digest_in_its_place_but_never_the_key():
    digest = {"digest": "A" * 43}
    (read,) = T9.read(body(entry(content=CONTENT | {"name": digest})))
    assert read.content["name"] == digest
    with pytest.raises(InvalidValueError):
        T9.read(body(entry(content=CONTENT | {"identifier": digest})))


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"dataset": "t8", "entries": [entry()]},
        {"dataset": "t9", "entries": []},
        {"dataset": "t9", "entries": [entry()], "more": 1},
        body(entry(version=0)),
        body(entry(version=True)),
        body(entry(operation=4)),
        body(entry(operation=True)),
        body(entry(at=-1)),
        body(entry(content=[])),
        body(entry(withheld=["nothing"])),
        body(entry(withheld="maker")),
        body(entry(other=1)),
        body("entry"),
    ],
)
def test_what_is_no_body_is_malformed(wrong):
    with pytest.raises(MalformedError):
        T9.read(wrong)


@pytest.mark.parametrize(
    "content",
    [
        {},
        CONTENT | {"unknown": 1},
        CONTENT | {"name": ""},
        CONTENT | {"name": "x" * 256},
        CONTENT | {"status": "lost"},
        CONTENT | {"created": "21.9.2026"},
        CONTENT | {"name": {"digest": "short"}},
    ],
)
def test_content_against_the_schema_is_refused_with_its_place(content):
    with pytest.raises(InvalidValueError) as refused:
        T9.read(body(entry(), entry(content=content)))
    assert refused.value.field.startswith("entries[1].content")
    assert "t9/1" in refused.value.message("zh")


@pytest.mark.parametrize("identifier", ["88.107/", "88..107/B", "88.107/\x00", "％2F/x"])
def test_a_key_that_is_no_identifier_is_refused(identifier):
    with pytest.raises(HazlinkError):
        T9.read(body(entry(content=CONTENT | {"identifier": identifier})))


def test_too_many_entries_are_refused():
    with pytest.raises(LimitError):
        T9.read(body(*[entry()] * (MAX_ENTRIES + 1)))


json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(json, st.sampled_from(["version", "operation", "at", "content", "withheld"]))
def test_whatever_comes_is_read_or_refused(junk, member):
    for wrong in (junk, body(junk), body(entry(**{member: junk}))):
        try:
            T9.read(wrong)
        except (MalformedError, InvalidValueError, LimitError):
            continue


def test_keys_of_identifiers_are_folded_and_others_are_not():
    assert T9.key_of(CONTENT | {"identifier": "88.107/b-1"}) == "88.107/B-1"
    assert load_datasets().newest("t5").key_of({"code": "app"}) == "app"


def test_what_does_not_fit_is_named_and_left_out():
    fitting, odd = T9.fitting(CONTENT | {"name": "x" * 300, "brand": "B", "unknown": 1})
    assert fitting == CONTENT | {"brand": "B"}
    assert set(odd) == {"name", "unknown"}


def test_what_is_about_to_be_shared_must_be_whole_unless_it_is_gone():
    T9.check_own(CONTENT)
    T9.check_own({"identifier": "88.107/B-1"}, gone=True)
    with pytest.raises(InvalidValueError):
        T9.check_own({"identifier": "88.107/B-1"})


def test_the_tier_follows_the_depth_of_the_prefix():
    assert tier_of(Prefix("88")) is Tier.TOP
    assert tier_of(Prefix("88.107")) is Tier.SECONDARY
    assert tier_of(Prefix("88.107.1001")) is Tier.ENTERPRISE
