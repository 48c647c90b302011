import os
import threading
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import finding
from registry.documents import pack, unpack
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    GoneError,
    InvalidValueError,
    LimitError,
    MalformedError,
    NotFoundError,
    NotResponsibleError,
    UnauthenticatedError,
    ValueExistsError,
    ValueNotFoundError,
)
from registry.globs import Glob
from registry.identifier import Identifier, Prefix, fold
from registry.principal import ANONYMOUS, Role
from registry.record import Draft, Status
from registry.results import Done, IfPresent, SetMode
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.keys import KeySigner
from registry.trust.record_signature import public_jws
from registry.value import FEDERATION, PRIVATE, Scope, TtlType, Value, Visibility
from tests.support.registry import GUEST, HOME, FixedSigners, SteppingClock, a_registry, someone

ADMIN = someone()


def a_draft(suffix="B-1", url="https://e.example/1", **more):
    values = (Value(1, "URL", url.encode()), *more.pop("values", ()))
    return Draft(identifier=f"88.107.1001/{suffix}", values=values, **more)


def stands(registry, name="88.107.1001/B-1"):
    (found,) = registry.records([Identifier.parse(name)])
    return found


@pytest.fixture
def clock():
    return SteppingClock()


@pytest.fixture
def registry(database, clock):
    return a_registry(database, clock=clock)


def test_a_registered_record_is_found_in_any_case(registry):
    assert registry.register(ADMIN, a_draft("Batch-1")).done is Done.CREATED
    found = stands(registry, "88.107.1001/BATCH-1")
    assert found.identifier.text == "88.107.1001/Batch-1"
    assert (found.version, found.status, found.kind) == (1, Status.ACTIVE, "generic")
    assert found.signature.issuer == "88.107.1001"


def test_the_same_content_again_is_success_and_changes_nothing(registry, clock):
    registry.register(ADMIN, a_draft())
    clock.at += 60
    again = registry.register(ADMIN, a_draft())
    assert (again.done, again.version) == (Done.UNCHANGED, 1)
    assert registry.last_change() == 1


def test_other_content_needs_replace(registry, clock):
    registry.register(ADMIN, a_draft(values=(Value(2, "EMAIL", b"a@e.example"),)))
    first = stands(registry)
    with pytest.raises(ExistsError) as caught:
        registry.register(ADMIN, a_draft(url="https://e.example/2"))
    assert "version 1" in str(caught.value)
    clock.at += 60
    done = registry.register(
        ADMIN,
        a_draft(url="https://e.example/2", values=(Value(2, "EMAIL", b"a@e.example"),)),
        if_present=IfPresent.REPLACE,
    )
    assert (done.done, done.version) == (Done.CHANGED, 2)
    made = stands(registry)
    assert made.value(1).timestamp == first.modified + 60
    assert made.value(2).timestamp == first.modified, "an unchanged value keeps its time"


def test_a_writer_with_an_old_version_is_refused(registry):
    registry.register(ADMIN, a_draft())
    with pytest.raises(ConflictError):
        registry.set_values(ADMIN, "88.107.1001/B-1", values=[Value(1, "URL", b"x")], expected_version=7)
    with pytest.raises(ConflictError):
        registry.register(ADMIN, a_draft("NEW"), expected_version=3)
    assert registry.register(ADMIN, a_draft("NEW"), expected_version=0).done is Done.CREATED


@pytest.mark.parametrize(
    ("who", "error"),
    [
        (ANONYMOUS, UnauthenticatedError),
        (someone(Role.READER), ForbiddenError),
        (someone(Role.ADMIN, Prefix("88.107")), ForbiddenError),
        (someone(Role.ADMIN, Prefix("88.107.100")), ForbiddenError),
        (someone(Role.NODE), ForbiddenError),
    ],
)
def test_only_who_may_write_at_the_very_prefix_writes(registry, who, error):
    with pytest.raises(error):
        registry.register(who, a_draft())
    assert stands(registry) is None
    assert registry.last_change() == 0


def test_a_foreign_prefix_is_not_our_responsibility(database):
    elsewhere = Prefix("77.1")
    with pytest.raises(NotResponsibleError):
        a_registry(database).register(
            someone(prefix=elsewhere), Draft("77.1/x", values=(Value(1, "URL", b"u"),))
        )


def test_an_editor_does_not_write_delegations(registry):
    draft = Draft("0.NA/88.107.1001.5", values=(Value(1, "URL", b"u"),))
    with pytest.raises(ForbiddenError):
        registry.register(someone(Role.EDITOR), draft)
    assert registry.register(someone(Role.OPERATOR), draft).done is Done.CREATED


def test_values_are_put_added_modified_and_removed(registry):
    registry.register(ADMIN, a_draft())
    name = "88.107.1001/B-1"
    assert registry.set_values(ADMIN, name, values=[Value(2, "EMAIL", b"a@e")]).version == 2
    with pytest.raises(ValueExistsError):
        registry.set_values(ADMIN, name, values=[Value(2, "EMAIL", b"b@e")], mode=SetMode.ADD)
    with pytest.raises(ValueNotFoundError):
        registry.set_values(ADMIN, name, values=[Value(3, "EMAIL", b"b@e")], mode=SetMode.MODIFY)
    assert registry.set_values(ADMIN, name, values=[Value(2, "EMAIL", b"a@e")]).done is Done.UNCHANGED
    with pytest.raises(ValueNotFoundError):
        registry.remove_values(ADMIN, name, [2, 9])
    assert [v.index for v in stands(registry).values] == [1, 2], "nothing was half removed"
    assert registry.remove_values(ADMIN, name, [2]).version == 3
    assert [v.index for v in stands(registry).values] == [1]


def test_a_withdrawn_record_keeps_its_values_and_takes_no_other_change(registry):
    registry.register(ADMIN, a_draft())
    name = "88.107.1001/B-1"
    done = registry.withdraw(ADMIN, name, reason="召回", replaced_by=["88.107.1001/B-2"])
    assert (done.done, done.version) == (Done.CHANGED, 2)
    made = stands(registry)
    assert made.status is Status.WITHDRAWN
    assert made.value(1).data == b"https://e.example/1"
    assert (made.tombstone.reason, made.tombstone.replaced_by) == ("召回", ("88.107.1001/B-2",))
    with pytest.raises(GoneError):
        registry.set_values(ADMIN, name, values=[Value(1, "URL", b"x")])
    with pytest.raises(GoneError):
        registry.register(ADMIN, a_draft(), if_present=IfPresent.REPLACE)
    assert registry.withdraw(
        ADMIN, name, reason="召回", replaced_by=["88.107.1001/B-2"]
    ).done is Done.UNCHANGED  # fmt: skip
    with pytest.raises(GoneError):
        registry.withdraw(ADMIN, name, reason="another reason")
    assert registry.delete(ADMIN, name, reason="over").version == 3


def test_a_deleted_record_leaves_a_tombstone_until_its_owner_registers_again(registry):
    registry.register(ADMIN, a_draft())
    registry.delete(ADMIN, "88.107.1001/b-1", reason="typing mistake")
    gone = stands(registry)
    assert (gone.status, [v.type for v in gone.values]) == (Status.DELETED, ["HZ_TOMBSTONE"])
    with pytest.raises(GoneError):
        registry.delete(ADMIN, "88.107.1001/B-1", reason="again")
    again = registry.register(ADMIN, a_draft())
    assert (again.done, again.version) == (Done.CREATED, 3)
    assert stands(registry).tombstone is None


def test_nobody_writes_a_tombstone_by_hand(registry):
    for forged in (Value(500, "URL", b"x"), Value(7, "HZ_TOMBSTONE", b"{}")):
        with pytest.raises(MalformedError) as caught:
            registry.register(ADMIN, a_draft(values=(forged,)))
        assert caught.value.field == "values[1].index"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_withdrawing_asks_for_a_reason(registry, reason):
    registry.register(ADMIN, a_draft())
    with pytest.raises(MalformedError):
        registry.withdraw(ADMIN, "88.107.1001/B-1", reason=reason)


def test_unknown_names_are_not_found(registry):
    for call in (
        lambda: registry.withdraw(ADMIN, "88.107.1001/none", reason="x"),
        lambda: registry.set_values(ADMIN, "88.107.1001/none", values=[Value(1, "URL", b"")]),
    ):
        with pytest.raises(NotFoundError):
            call()


def test_a_batch_goes_on_past_what_is_wrong(registry):
    registry.register(ADMIN, a_draft("taken"))
    drafts = [
        a_draft("one"),
        Draft("88.107.1001/", values=()),
        a_draft("ONE"),
        a_draft("taken", url="https://other.example"),
        Draft("88.107.1001/x", kind="spaceship"),
        Draft("88.107/x", values=(Value(1, "URL", b"u"),)),
        a_draft("two"),
        a_draft("taken"),
    ]
    results = registry.register_many(ADMIN, drafts)
    assert [r.done.name for r in results] == [
        "CREATED", "REFUSED", "REFUSED", "REFUSED", "REFUSED", "REFUSED", "CREATED", "REFUSED",
    ]  # fmt: skip
    assert [r.error.code.rsplit(".", 1)[1] for r in results if r.error] == [
        "suffix_empty", "duplicate", "exists", results[4].error.code.rsplit(".", 1)[1], "forbidden", "duplicate",
    ]  # fmt: skip
    assert [c.position for c in registry.changes(0, 10)] == [1, 2, 3]


def test_a_dry_run_reports_and_stores_nothing(registry):
    results = registry.register_many(ADMIN, [a_draft("one"), Draft("88.107.1001/")], dry_run=True)
    assert [r.done for r in results] == [Done.CREATED, Done.REFUSED]
    assert registry.last_change() == 0


def test_a_batch_has_a_limit(registry):
    with pytest.raises(LimitError):
        registry.register_many(ADMIN, [a_draft()] * 2001)


def test_lists_page_stably_and_leave_out_the_deleted(registry):
    registry.register_many(ADMIN, [a_draft(f"b{n}") for n in range(7)])
    registry.delete(ADMIN, "88.107.1001/b3", reason="x")
    seen, after = [], None
    while True:
        page = registry.list(ADMIN, HOME, after=after, limit=2)
        seen += [i.text for i in page.identifiers]
        registry.register(ADMIN, a_draft(f"a-later-{len(seen)}"))
        if page.next is None:
            break
        after = page.next
    assert seen == [f"88.107.1001/b{n}" for n in (0, 1, 2, 4, 5, 6)]
    assert registry.count(ADMIN, HOME) == 6 + 3
    assert len(registry.list_page(ADMIN, HOME, 1, 5).identifiers) == 4
    with pytest.raises(ForbiddenError):
        registry.list(someone(prefix=GUEST), HOME)
    with pytest.raises(LimitError):
        registry.list(ADMIN, HOME, limit=0)


def found(registry, patterns, who=ADMIN, **more):
    return [i.suffix for i in registry.search(who, patterns, **more).identifiers]


def test_values_are_found_by_globs_in_any_case(registry):
    registry.register_many(
        ADMIN,
        [
            a_draft("a", url="https://e.example/50%_done"),
            a_draft("b", url="https://e.example/5"),
            a_draft("c", url="mailto:x"),
        ],
    )
    assert found(registry, {"URL": "HTTPS://e.example/*"}) == ["a", "b"]
    assert found(registry, {"URL": "*%_done"}) == ["a"]
    assert found(registry, {"URL": "*/?"}) == ["b"]
    assert found(registry, {"URL": "*"}, limit=2) == ["a", "b"]
    assert found(registry, {"URL": "*", "EMAIL": "*"}) == []
    assert found(registry, {"URL": "mailto:X"}, prefix=HOME) == ["c"]


def test_a_search_pages_through_everything_once(registry):
    registry.register_many(ADMIN, [a_draft(f"s{n:02}") for n in range(25)])
    seen, after = [], None
    while True:
        page = registry.search(ADMIN, {"URL": "https://*"}, after=after, limit=10)
        seen += [i.suffix for i in page.identifiers]
        if page.next is None:
            break
        after = page.next
    assert seen == [f"s{n:02}" for n in range(25)]


def test_a_value_longer_than_the_search_row_is_still_found(registry):
    registry.register(ADMIN, a_draft("long", url="https://e.example/" + "x" * 400 + "end"))
    assert found(registry, {"URL": "*END"}) == ["long"]
    assert found(registry, {"URL": "https://*xend"}) == ["long"]
    assert found(registry, {"URL": "*start"}) == []


def test_what_may_not_be_seen_is_not_found(registry):
    secret = Value(2, "NOTE", b"hidden").seen_as(PRIVATE)
    shared = Value(3, "NOTE", b"shared").seen_as(Visibility(Scope.PREFIXES, (GUEST.key,)))
    registry.register(ADMIN, a_draft(values=(secret, shared)))
    assert found(registry, {"NOTE": "hidden"}) == ["B-1"]
    with pytest.raises(UnauthenticatedError):
        registry.search(ANONYMOUS, {"NOTE": "hidden"})
    with pytest.raises(ForbiddenError):
        registry.search(someone(prefix=GUEST), {"NOTE": "hidden"}, prefix=HOME)
    assert found(registry, {"NOTE": "hidden"}, who=someone(prefix=GUEST)) == []


def test_a_changed_or_deleted_value_is_no_longer_found(registry):
    registry.register(ADMIN, a_draft())
    registry.set_values(ADMIN, "88.107.1001/B-1", values=[Value(1, "URL", b"https://new.example")])
    assert found(registry, {"URL": "https://e.example/1"}) == []
    assert found(registry, {"URL": "https://new*"}) == ["B-1"]
    registry.delete(ADMIN, "88.107.1001/B-1", reason="x")
    assert found(registry, {"URL": "*"}) == []


def test_a_type_without_index_is_looked_through(registry):
    registry.register(ADMIN, a_draft(values=(Value(100, "HS_ADMIN", b"300:0.NA/88.107.1001"),)))
    assert found(registry, {"HS_ADMIN": "300:*"}) == ["B-1"]


def test_the_trail_shows_who_changed_what_before_and_after(registry, clock):
    registry.register(someone(name="zhang"), a_draft())
    clock.at += 5
    registry.set_values(someone(name="li"), "88.107.1001/B-1", values=[Value(1, "URL", b"https://x.example")])
    registry.withdraw(someone(name="wang"), "88.107.1001/B-1", reason="recalled")
    entries = registry.history(ADMIN, Identifier.parse("88.107.1001/b-1"))
    assert [(e.who, e.action, e.position) for e in entries] == [
        ("zhang", "register", 1), ("li", "set", 2), ("wang", "withdraw", 3),
    ]  # fmt: skip
    assert entries[0].before is None
    assert entries[0].after.value(1).data == entries[1].before.value(1).data == b"https://e.example/1"
    assert entries[1].after.version == entries[2].before.version == 2
    assert entries[2].after.status is Status.WITHDRAWN
    assert entries[2].to_form()["after"]["status"] == "withdrawn"
    with pytest.raises(ForbiddenError):
        registry.history(someone(Role.EDITOR), Identifier.parse("88.107.1001/b-1"))


def test_a_clock_set_back_does_not_turn_versions_around(registry, clock):
    registry.register(ADMIN, a_draft())
    clock.at -= 86_400
    registry.set_values(ADMIN, "88.107.1001/B-1", values=[Value(1, "URL", b"x")])
    assert stands(registry).modified == clock.at + 86_400


def test_resigning_gives_every_record_the_new_key(database):
    signers = FixedSigners(HOME)
    registry = a_registry(database, signers=signers)
    registry.register_many(ADMIN, [a_draft(f"r{n}") for n in range(5)])
    registry.delete(ADMIN, "88.107.1001/r1", reason="x")
    signers.keys = FixedSigners(HOME).keys
    assert registry.resign(HOME) == 5
    assert registry.resign(HOME) == 0
    kids = {stands(registry, f"88.107.1001/r{n}").signature.kid for n in range(5)}
    assert kids == {signers.keys[HOME].kid}


def test_a_copy_is_kept_as_it_was_signed_and_never_turned_back(registry, database):
    registry.register(ADMIN, a_draft())
    original = stands(registry)
    other = a_registry(database)
    with pytest.raises(ConflictError):
        other.put_copy(replace(original, version=1, kind="changed"))
    newer = replace(original, version=9)
    other.put_copy(newer)
    other.put_copy(newer)
    assert stands(other) == newer
    with pytest.raises(ConflictError):
        other.put_copy(original)


def test_writers_at_the_same_time_take_gapless_positions(registry):
    errors = []

    def work(name):
        try:
            for n in range(10):
                registry.register(ADMIN, a_draft(f"{name}-{n}"))
                registry.register_many(ADMIN, [a_draft("shared"), a_draft(f"{name}-{n}-b")])
        except Exception as error:  # reported below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"w{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    positions = [c.position for c in registry.changes(0, 1000)]
    assert positions == list(range(1, 82))
    assert stands(registry, "88.107.1001/shared").version == 1


def test_a_failure_inside_a_write_leaves_nothing(registry, monkeypatch):
    registry.register(ADMIN, a_draft("first"))
    from registry.storage import records

    monkeypatch.setattr(records, "before_image", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        registry.register_many(ADMIN, [a_draft("x"), a_draft("y")])
    monkeypatch.undo()
    assert stands(registry, "88.107.1001/x") is None
    assert registry.register(ADMIN, a_draft("x")).done is Done.CREATED
    assert [c.position for c in registry.changes(0, 10)] == [1, 2]


values = st.builds(
    Value,
    index=st.integers(1, 2**32 - 1),
    type=st.text("ABC_.", max_size=8),
    data=st.binary(max_size=30),
    ttl=st.integers(-(2**31), 2**31 - 1),
    ttl_type=st.sampled_from(TtlType),
    timestamp=st.integers(0, 2**32 - 1),
    permissions=st.integers(0, 15),
    references=st.lists(st.tuples(st.text("a/1", max_size=4), st.integers(0, 9)), max_size=2).map(tuple),
    visibility=st.sampled_from(
        [Visibility(), FEDERATION, PRIVATE, Visibility(Scope.PREFIXES, ("88.1", "88.2"))]
    ),
    salt=st.sampled_from([b"", bytes(16), os.urandom(16)]),
)


@given(st.lists(values, max_size=5).map(tuple), st.integers(0, 2**32 - 1))
def test_a_document_brings_every_value_back(given_values, modified):
    assert unpack(pack(given_values, modified), modified) == given_values


@pytest.mark.parametrize(
    "value",
    [
        Value(0, "URL", b"x"),
        Value(2**33, "URL", b"x"),
        Value(1, "URL", b"x", ttl=2**40),
        Value(1, "A\0B", b"x"),
        Value(1, "T" * 300, b"x"),
        Value(1, "\ud800", b"x"),
        Value(1, "URL", b"x", references=(("88.1/A", 2**40),)),
        Value(1, "HS_SECKEY", b"secret"),
    ],
    ids=lambda v: f"{v.type[:6]!a}-{v.index}",
)
def test_no_value_ends_a_batch(registry, value):
    bad = Draft(identifier="88.107.1001/BAD", values=(value,))
    results = registry.register_many(ADMIN, [a_draft("one"), bad, a_draft("two")])
    assert [r.done for r in results] == [Done.CREATED, Done.REFUSED, Done.CREATED]
    assert results[1].error.field.startswith("values[0].")
    with pytest.raises(type(results[1].error)):
        registry.set_values(ADMIN, "88.107.1001/one", values=[value])


def test_a_record_is_never_left_without_values(registry):
    (refused,) = registry.register_many(ADMIN, [Draft(identifier="88.107.1001/EMPTY")])
    assert refused.done is Done.REFUSED
    registry.register(ADMIN, a_draft())
    with pytest.raises(InvalidValueError, match="at least one"):
        registry.remove_values(ADMIN, "88.107.1001/B-1", [1])


def test_the_permission_bit_follows_the_visibility(registry):
    registry.register(ADMIN, a_draft(values=(Value(2, "NOTE", b"x", visibility=PRIVATE),)))
    assert [v.permissions for v in stands(registry).values] == [0b1110, 0b1100]
    registry.set_values(ADMIN, "88.107.1001/B-1", values=[Value(3, "NOTE", b"y", permissions=0b1100)])
    assert stands(registry).value(3).permissions == 0b1110


def test_an_import_repeated_after_a_withdrawal_changes_nothing(registry):
    registry.register(ADMIN, a_draft())
    registry.withdraw(ADMIN, "88.107.1001/B-1", reason="recalled")
    again = registry.register(ADMIN, a_draft())
    assert (again.done, again.version) == (Done.UNCHANGED, 2)
    assert stands(registry).status is Status.WITHDRAWN
    with pytest.raises(GoneError):
        registry.register(ADMIN, a_draft(url="https://e.example/2"))


def test_roles_count_at_the_homed_prefix_also_for_prefixes_below_it(registry):
    below = "88.107.1001.5/TANK"
    registry.register(ADMIN, Draft(identifier=below, values=(Value(1, "URL", b"https://t.example"),)))
    assert stands(registry, below).signature.issuer == "88.107.1001"
    assert registry.count(ADMIN, Prefix("88.107.1001.5")) == 1
    assert found(registry, {"URL": "https://t*"}) == ["TANK"]
    assert len(registry.history(ADMIN, Identifier.parse(below))) == 1
    with pytest.raises(ForbiddenError):
        registry.delete(someone(prefix=Prefix("88.107")), below, reason="x")


def test_resigning_reaches_everything_the_key_vouched_for_and_nothing_else(database):
    parent = Prefix("88.107")
    signers = FixedSigners(parent, HOME)
    registry = a_registry(database, signers=signers)
    chief = someone(prefix=parent)
    registry.register(chief, Draft(identifier="88.107/A", values=(Value(1, "URL", b"x"),)))
    registry.register(chief, Draft(identifier="88.107.77/B", values=(Value(1, "URL", b"x"),)))
    registry.register(chief, Draft(identifier="0.NA/88.107.1001", values=(Value(1, "URL", b"x"),)))
    registry.register(ADMIN, a_draft("own"))
    foreign = replace(stands(registry, "88.107/A"), identifier=Identifier.parse("0.NA/88.107"))
    registry.put_copy(foreign)
    signers.keys[parent] = FixedSigners(parent).keys[parent]
    assert registry.resign(parent) == 3
    new = signers.keys[parent].kid
    names = ("88.107/A", "88.107.77/B", "0.NA/88.107.1001", "88.107.1001/own", "0.NA/88.107")
    assert [stands(registry, n).signature.kid == new for n in names] == [True, True, True, False, False]


def test_a_record_signed_with_another_algorithm_says_so_when_it_is_read_again(database):
    signers = FixedSigners(HOME)
    signers.keys[HOME] = KeySigner(ec.generate_private_key(ec.SECP256R1()))
    a_registry(database, signers=signers).register(ADMIN, a_draft())
    record = stands(a_registry(database, signers=signers))
    assert record.signature.alg == "ES256"
    parsed = jws.parse(public_jws(record), typ="hz-record+jws")
    jws.verify(parsed, admit(signers.keys[HOME].jwk, ["ES256"]))


def test_values_that_are_no_text_do_no_harm(registry):
    registry.register(
        ADMIN,
        a_draft(values=(Value(2, "NOTE", b"a\0b"), Value(3, "NOTE", b"\xff\xfe"), Value(4, "NOTE", b"ab"))),
    )
    assert found(registry, {"NOTE": "ab"}) == ["B-1"]
    assert found(registry, {"NOTE": "a?b"}) == []
    assert found(registry, {"note": "*"}) == ["B-1"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.list(ADMIN, HOME, after="x\0"),
        lambda r: r.list(ADMIN, HOME, after="\ud800"),
        lambda r: r.search(ADMIN, {"URL": "*"}, after="88..1/x"),
        lambda r: r.search(ADMIN, {"URL": "a\0*"}),
        lambda r: r.search(ADMIN, {"\ud800": "a"}),
        lambda r: r.search(ADMIN, {"URL": "a" * 256}),
        lambda r: r.search(ADMIN, {}),
        lambda r: r.list_page(ADMIN, HOME, -1, 10),
        lambda r: r.list_page(ADMIN, HOME, 10**18, 10),
    ],
)
def test_nonsense_about_pages_and_patterns_is_refused(registry, ask):
    registry.register(ADMIN, a_draft())
    with pytest.raises((MalformedError, LimitError)) as caught:
        ask(registry)
    assert caught.value.message("zh")


def test_positions_beyond_all_numbers_find_nothing(registry):
    registry.register(ADMIN, a_draft())
    assert registry.changes(2**64 - 1, 10) == []
    assert registry.history(ADMIN, Identifier.parse("88.107.1001/B-1"), after=2**64 - 1) == []


def test_a_search_that_looked_at_much_says_where_to_go_on(registry, monkeypatch):
    registry.register_many(ADMIN, [a_draft(f"n{n}", values=(Value(2, "NOTE", b"x"),)) for n in range(7)])
    registry.register(ADMIN, a_draft("n7", values=(Value(2, "NOTE", b"wanted"),)))
    monkeypatch.setattr(finding, "_MAX_LOOKED", 3)
    seen, after, calls = [], None, 0
    while calls == 0 or after is not None:
        page = registry.search(ADMIN, {"URL": "https://e.example/1", "NOTE": "*anted"}, after=after)
        seen += [i.suffix for i in page.identifiers]
        after, calls = page.next, calls + 1
    assert (seen, calls) == (["n7"], 3)


def test_a_large_prefix_is_not_looked_through_for_a_type_without_index(registry, monkeypatch):
    registry.register_many(ADMIN, [a_draft(f"n{n}") for n in range(4)])
    monkeypatch.setattr(finding, "_MAX_SCAN", 3)
    with pytest.raises(LimitError, match="HS_ADMIN is not indexed"):
        registry.search(ADMIN, {"HS_ADMIN": "x"})
    assert found(registry, {"HS_ADMIN": "x", "URL": "*"}) == []


texts = st.text(st.sampled_from("aAbB%_\\*?é硫\U0010ffff"), max_size=5)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(texts, min_size=1, max_size=6), pattern=texts)
def test_both_databases_find_what_the_pattern_says(registry, contents, pattern):
    for number, text in enumerate(contents):
        draft = Draft(identifier=f"88.107.1001/P{number}", values=(Value(1, "NOTE", text.encode()),))
        registry.register(ADMIN, draft, if_present=IfPresent.REPLACE)
    glob = Glob(pattern)
    right = [f"P{n}" for n, text in enumerate(contents) if glob.matches(fold(text))]
    first = {f"P{n}" for n in range(len(contents))}
    assert [name for name in found(registry, {"NOTE": pattern}) if name in first] == right
