"""What becomes of a record when somebody writes: the next version, or a refusal. No I/O; one instant given.

Rules:

- the same content changes nothing (also where it was withdrawn since: an import may be repeated); other content needs
  leave to replace;
- a withdrawn record takes no change but deletion; a deleted one continues its versions when registered again;
- a value keeps its timestamp and salt while its content stays;
- time never runs backwards from one version to the next, whatever the clock does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from registry.errors import (
    ConflictError,
    ExistsError,
    GoneError,
    LimitError,
    MalformedError,
    ValueExistsError,
    ValueNotFoundError,
)
from registry.identifier import Identifier
from registry.model_check import TOMBSTONE_TYPE
from registry.record import Record, Status, Tombstone
from registry.results import Done, IfPresent, Result, SetMode
from registry.trust.record_signature import SALT_BYTES
from registry.value import TOMBSTONE_INDEX, Value

__all__ = [
    "Checked",
    "decide",
    "ended",
    "ended_again",
    "expect",
    "gone",
    "merged",
    "next_version",
    "result",
    "same",
    "without",
]

_MAX_REASON = 500
_MAX_REPLACEMENTS = 20

#: Source of random bytes.
Salts = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Checked:
    """A draft that may be written and fits its template."""

    identifier: Identifier
    kind: str
    values: tuple[Value, ...]


def decide(
    checked: Checked, before: Record | None, if_present: IfPresent, *, now: int, salts: Salts
) -> Record | None:
    """Return the next version for a draft, unsigned; None when what stands there is the same.

    Raises:
        ExistsError, GoneError: what stands there may not be replaced.
    """
    identifier = checked.identifier
    if before is not None and before.status is not Status.DELETED:
        standing = tuple(v for v in before.values if v.index != TOMBSTONE_INDEX)
        unchanged = before.kind == checked.kind and same(standing, checked.values)
        if before.status is Status.WITHDRAWN and not (unchanged and if_present is IfPresent.CONFIRM):
            raise gone(before)
        if unchanged:
            return None
        if if_present is IfPresent.CONFIRM:
            raise ExistsError(
                "registry.record.exists",
                field="identifier",
                identifier=before.identifier.text,
                version=before.version,
            )
        # the registered spelling stays
        identifier = before.identifier
    return next_version(identifier, checked.kind, checked.values, before, now=now, salts=salts)


def next_version(
    identifier: Identifier,
    kind: str,
    values: Sequence[Value],
    before: Record | None,
    *,
    now: int,
    salts: Salts,
    status: Status = Status.ACTIVE,
) -> Record:
    """Return the next version of a record, its values stamped and salted, not yet signed."""
    at = max(now, before.modified) if before else now
    kept = {v.index: v for v in before.values} if before else {}
    stamped = []
    for value in values:
        old = kept.get(value.index)
        if old is not None and old.same_content(value):
            stamped.append(old)
            continue
        salt = b"" if value.visibility.is_public else salts(SALT_BYTES)
        stamped.append(_stamped(value, at, salt))
    return Record(
        identifier=identifier,
        kind=kind,
        version=before.version + 1 if before else 1,
        status=status,
        values=tuple(stamped),
        modified=at,
    )


def ended(
    before: Record, status: Status, *, reason: str, heirs: tuple[str, ...], now: int, salts: Salts
) -> Record:
    """Return the version that withdraws or deletes a record: its values stay, or only the tombstone does.

    Raises:
        MalformedError: no reason.
        LimitError: too many replacements.
    """
    if not 0 < len(reason) <= _MAX_REASON:
        raise MalformedError("registry.record.reason", field="reason", limit=_MAX_REASON)
    if len(heirs) > _MAX_REPLACEMENTS:
        raise LimitError(
            "registry.record.replacements", field="replaced_by", count=len(heirs), limit=_MAX_REPLACEMENTS
        )
    stone = Tombstone(
        state=status.name.lower(),
        by=f"0.NA/{before.identifier.authority}",
        reason=reason,
        at=max(now, before.modified),
        replaced_by=heirs,
    )
    kept = () if status is Status.DELETED else before.values
    values = {v.index: v for v in kept} | {
        TOMBSTONE_INDEX: Value(TOMBSTONE_INDEX, TOMBSTONE_TYPE, stone.to_data())
    }
    ordered = [values[index] for index in sorted(values)]
    return next_version(before.identifier, before.kind, ordered, before, now=now, salts=salts, status=status)


def ended_again(before: Record, reason: str, heirs: tuple[str, ...]) -> None:
    """Let a second withdrawal for the same reason pass.

    Raises:
        GoneError: it gives another reason; the first one stands.
    """
    stone = before.tombstone
    if stone is None or (stone.reason, stone.replaced_by) != (reason, heirs):
        raise gone(before)


def merged(
    record: Record, given: Iterable[Value], mode: SetMode, *, fields: Mapping[str, str]
) -> tuple[Value, ...]:
    """Return the values of a record with some of them set.

    Args:
        record: what stands there.
        given: the values to set, those of `fields` included.
        mode: what to do with an index that is taken, or is not.
        fields: the template fields that are set whole: of a repeated one no old value stays behind.

    Raises:
        ValueExistsError, ValueNotFoundError: against the mode.
    """
    made = {v.index: v for v in given}
    standing = {v.index for v in record.values}
    for index in made:
        if mode is SetMode.ADD and index in standing:
            raise ValueExistsError(
                "registry.record.index_taken",
                field=f"values[{index}]",
                index=index,
                identifier=record.identifier.text,
            )
        if mode is SetMode.MODIFY and index not in standing:
            raise _no_value(record, index)
    replaced = set(fields) if mode is SetMode.PUT else set()
    kept = {v.index: v for v in record.values if v.type not in replaced}
    values = kept | made
    return tuple(values[index] for index in sorted(values))


def without(record: Record, unwanted: frozenset[int]) -> tuple[Value, ...]:
    """Return the values of a record but for some.

    Raises:
        ValueNotFoundError: one of them is not there.
    """
    for index in sorted(unwanted):
        if record.value(index) is None:
            raise _no_value(record, index)
    return tuple(v for v in record.values if v.index not in unwanted)


def gone(record: Record) -> GoneError:
    """Return the refusal for a withdrawn or deleted record, with the reason of its tombstone."""
    stone = record.tombstone
    return GoneError(
        f"registry.record.{record.status.name.lower()}",
        field="identifier",
        identifier=record.identifier.text,
        reason=stone.reason if stone else "?",
    )


def expect(identifier: Identifier, before: Record | None, expected: int | None) -> None:
    """Check the version a writer expects; 0 stands for none.

    Raises:
        ConflictError: it is another one.
    """
    version = before.version if before else 0
    if expected is not None and expected != version:
        raise ConflictError(
            "registry.record.version",
            field="expected_version",
            identifier=identifier.text,
            version=version,
            expected=expected,
        )


def same(before: Sequence[Value], after: Sequence[Value]) -> bool:
    """Say whether two records have the same content: not the timestamps, not the salts."""
    return len(before) == len(after) and all(b.same_content(a) for b, a in zip(before, after, strict=True))


def result(given: str, before: Record | None, made: Record | None) -> Result:
    """Return what became of a write."""
    if made is None:
        return Result(given, Done.UNCHANGED, before.version if before else 0)
    created = before is None or before.status is Status.DELETED
    return Result(given, Done.CREATED if created else Done.CHANGED, made.version)


def _stamped(value: Value, at: int, salt: bytes) -> Value:
    # written out: `dataclasses.replace` takes three times as long, and this is done for every value registered
    return Value(
        value.index,
        value.type,
        value.data,
        value.ttl,
        value.ttl_type,
        at,
        value.permissions,
        value.references,
        value.visibility,
        salt,
    )


def _no_value(record: Record, index: int) -> ValueNotFoundError:
    return ValueNotFoundError(
        "registry.record.index_missing",
        field=f"values[{index}]",
        identifier=record.identifier.text,
        index=index,
    )
