"""A hosted prefix moves to its own node; no identifier changes, nothing is lost, nobody else gets the file."""

import stat
from pathlib import Path

import pytest

from registry.delegation import Contact, HomeState, Purpose
from registry.errors import (
    BusyError,
    ConflictError,
    ForbiddenError,
    MalformedError,
    NotResponsibleError,
    UnavailableError,
    UntrustedError,
)
from registry.identifier import Identifier, Prefix
from registry.prefixes.record_form import from_form, to_form
from tests.support.prefixes import (
    DAY,
    MovedClock,
    TestNode,
    a_top,
    admin_of,
    ask,
    joined,
    operator_of,
)

P = Prefix.parse
SMALL = P("88.107.1003")
OWNER = admin_of("88.107.1003")


@pytest.fixture
def hosted(park: TestNode, clock: MovedClock) -> TestNode:
    park.prefixes.host(operator_of("88.107"), SMALL, who=Contact(name="示例小厂"))
    for number in range(5):
        park.register(f"88.107.1003/OBJ-{number}", f"对象 {number}", private="配方" if number % 2 else None)
    clock.time += DAY
    park.register("88.107.1003/OBJ-0", "对象 0 改")
    return park


def exported(park: TestNode, path: Path) -> Path:
    park.prefixes.close(OWNER, SMALL)
    park.clock.time += 2
    park.prefixes.export_handover(OWNER, SMALL, path)
    return path


def handed_over(park: TestNode, plant: TestNode, path: Path) -> None:
    exported(park, path)
    ask(park, plant, "88.107.1003", purpose=Purpose.HANDOVER)
    plant.prefixes.accept_handover(OWNER, path)
    park.prefixes.approve(operator_of("88.107"), SMALL)
    plant.prefixes.joining.learn(SMALL, park.prefixes.delegated(SMALL))


def test_the_whole_way(hosted: TestNode, plant: TestNode, tmp_path: Path, clock: MovedClock) -> None:
    before = {number: hosted.record(f"88.107.1003/OBJ-{number}") for number in range(5)}
    old = hosted.homes.signer_for(SMALL)[0]
    handed_over(hosted, plant, tmp_path / "bundle")
    clock.time += DAY
    chain = plant.chain("88.107.1003")
    assert [key.kid for key in chain.leaf.keys] == [plant.homes.signer_for(SMALL)[0].kid, old.kid]
    for number, record in before.items():
        assert plant.record(f"88.107.1003/OBJ-{number}") == record
        plant.verified(f"88.107.1003/OBJ-{number}", chain)
    plant.register("88.107.1003/OBJ-1", "对象 1 新节点")
    changed = plant.record("88.107.1003/OBJ-1")
    assert changed is not None
    assert changed.version == 2
    plant.verified("88.107.1003/OBJ-1", chain)
    assert chain.leaf.endpoints.resolve == ("https://plant.example",)


def test_the_host_refers_afterwards_and_takes_nothing(
    hosted: TestNode, plant: TestNode, tmp_path: Path
) -> None:
    handed_over(hosted, plant, tmp_path / "bundle")
    assert not hosted.homes.homes(SMALL)
    assert hosted.homes.delegation(SMALL) == plant.homes.chain(SMALL)
    with pytest.raises(NotResponsibleError):
        hosted.register("88.107.1003/NEW")
    home = hosted.homes.home(SMALL)
    assert home is not None
    assert home.state is HomeState.CLOSED
    assert hosted.prefixes.upkeep() == 0


def test_a_closing_prefix_answers_and_takes_nothing_until_it_is_reopened(
    hosted: TestNode, tmp_path: Path
) -> None:
    hosted.prefixes.close(OWNER, SMALL)
    assert hosted.homes.homes(SMALL)
    assert hosted.chain("88.107.1003").leaf.state == "active"
    with pytest.raises(ForbiddenError, match="closed for hand-over"):
        hosted.register("88.107.1003/NEW")
    hosted.prefixes.reopen(OWNER, SMALL)
    hosted.register("88.107.1003/NEW")
    with pytest.raises(ConflictError):
        hosted.prefixes.reopen(OWNER, SMALL)


def test_export_waits_until_every_process_has_stopped_writing(hosted: TestNode, tmp_path: Path) -> None:
    with pytest.raises(BusyError) as refusal:
        hosted.prefixes.export_handover(OWNER, SMALL, tmp_path / "bundle")
    assert refusal.value.retry_after == 2
    assert not (tmp_path / "bundle").exists()
    hosted.clock.time += 2
    summary = hosted.prefixes.export_handover(OWNER, SMALL, tmp_path / "bundle")
    assert summary.records == 5
    assert summary.trail > 6


def test_the_bundle_is_for_its_owner_alone(hosted: TestNode, tmp_path: Path) -> None:
    path = exported(hosted, tmp_path / "bundle")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ForbiddenError):
        hosted.prefixes.export_handover(operator_of("88.107"), SMALL, tmp_path / "other")


def test_a_bundle_can_be_taken_in_twice(hosted: TestNode, plant: TestNode, tmp_path: Path) -> None:
    path = exported(hosted, tmp_path / "bundle")
    ask(hosted, plant, "88.107.1003", purpose=Purpose.HANDOVER)
    first = plant.prefixes.accept_handover(OWNER, path)
    assert plant.prefixes.accept_handover(OWNER, path) == first
    trail = plant.prefixes.inherited(OWNER, SMALL, "88.107.1003/obj-0")
    assert [line["action"] for line in trail] == ["register", "replace"]
    own = plant.prefixes.inherited(OWNER, SMALL, "0.NA/88.107.1003")
    assert [line["action"] for line in own][:1] == ["hosted"]


def test_only_who_asked_to_take_over_may_take_in(hosted: TestNode, plant: TestNode, tmp_path: Path) -> None:
    path = exported(hosted, tmp_path / "bundle")
    with pytest.raises(ConflictError, match="hand-over invitation"):
        plant.prefixes.accept_handover(OWNER, path)
    with pytest.raises(ForbiddenError):
        plant.prefixes.accept_handover(admin_of("88.107.1004"), path)


def test_a_bundle_of_another_root_is_refused(
    hosted: TestNode, plant: TestNode, tmp_path: Path, clock: MovedClock
) -> None:
    ask(hosted, plant, "88.107.1003", purpose=Purpose.HANDOVER)
    (tmp_path / "else").mkdir()
    forger = a_top(tmp_path / "else", clock)
    forger.prefixes.host(operator_of("88"), P("88.107"))
    forger.prefixes.host(operator_of("88.107"), SMALL)
    path = exported(forger, tmp_path / "forged")
    with pytest.raises(UntrustedError) as refusal:
        plant.prefixes.accept_handover(OWNER, path)
    assert refusal.value.code == "registry.trust.fingerprint"


@pytest.mark.parametrize("change", ["cut", "line dropped", "value changed", "line added", "reordered"])
def test_a_bundle_that_was_touched_is_refused_whole(
    hosted: TestNode, plant: TestNode, tmp_path: Path, change: str
) -> None:
    path = exported(hosted, tmp_path / "bundle")
    lines = path.read_bytes().splitlines(keepends=True)
    records = [number for number, line in enumerate(lines) if line.startswith(b'{"record"')]
    match change:
        case "cut":
            lines = lines[:-1]
        case "line dropped":
            del lines[records[0]]
        case "value changed":
            lines[records[0]] = lines[records[0]].replace(b'"version":2', b'"version":3')
        case "line added":
            lines.insert(1, lines[records[0]])
        case _:
            lines[records[0]], lines[records[1]] = lines[records[1]], lines[records[0]]
    path.write_bytes(b"".join(lines))
    ask(hosted, plant, "88.107.1003", purpose=Purpose.HANDOVER)
    with pytest.raises((UntrustedError, MalformedError)):
        plant.prefixes.accept_handover(OWNER, path)
    assert plant.record("88.107.1003/OBJ-0") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"not json\n", b'{"head":{"form":9}}\n', b'{"head":1}\n', b'{"head":{"form":1}}\n', b"{}\n"],
)
def test_what_is_no_bundle_is_refused(plant: TestNode, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle").write_bytes(content)
    with pytest.raises(MalformedError):
        plant.prefixes.accept_handover(OWNER, tmp_path / "bundle")


def test_a_missing_file_is_said_plainly(plant: TestNode, hosted: TestNode, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        plant.prefixes.accept_handover(OWNER, tmp_path / "missing")
    hosted.prefixes.close(OWNER, SMALL)
    hosted.clock.time += 2
    with pytest.raises(UnavailableError):
        hosted.prefixes.export_handover(OWNER, SMALL, tmp_path / "no" / "folder")


def test_only_hosted_prefixes_are_handed_over(park: TestNode) -> None:
    with pytest.raises(ConflictError):
        park.prefixes.close(admin_of("88.107"), P("88.107"))


def test_a_record_comes_back_from_its_form(hosted: TestNode) -> None:
    for number in range(5):
        (record,) = hosted.registry.records([Identifier.parse(f"88.107.1003/OBJ-{number}")])
        assert record is not None
        assert from_form(to_form(record), field="x") == record
    with pytest.raises(MalformedError):
        from_form({"identifier": "88/x"}, field="x")


def test_the_new_holder_is_a_full_member(hosted: TestNode, plant: TestNode, tmp_path: Path) -> None:
    handed_over(hosted, plant, tmp_path / "bundle")
    token = plant.prefixes.joining.amendment(SMALL, nonce=hosted.prefixes.challenge(), rotate=True)
    plant.prefixes.joining.learn(SMALL, hosted.prefixes.amend(token))
    for number in range(5):
        plant.verified(f"88.107.1003/OBJ-{number}", plant.chain("88.107.1003"))
    assert len(plant.chain("88.107.1003").leaf.keys) == 3
    with pytest.raises(NotResponsibleError):
        joined(hosted, plant, "88.107.1003.1")
