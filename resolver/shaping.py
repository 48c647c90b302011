"""What of a record is shown: one rule for own and for foreign records, at every door.

- a value is shown when the asker may see it and asked for it;
- an index that was asked for and may not be seen is named among the withheld ones;
- which types such values have is nobody's business who may not see them: a question by type names them all;
- the tombstone is always shown: whoever asks for one value of a withdrawn record must learn that it is withdrawn;
- of a deleted record nothing but the tombstone is shown.
"""

from collections.abc import Sequence
from dataclasses import replace

from registry.identifier import Prefix, fold
from registry.principal import Principal, visible
from registry.record import Record, Status
from registry.value import DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS, TOMBSTONE_INDEX, TtlType, Value
from resolver.answer import Outcome, Query

__all__ = ["OUTCOME_OF", "STATUS_OF", "life_of", "shown"]

#: status of a record → what is answered.
OUTCOME_OF = {
    Status.ACTIVE: Outcome.FOUND,
    Status.WITHDRAWN: Outcome.WITHDRAWN,
    Status.DELETED: Outcome.DELETED,
}
STATUS_OF = {outcome: status for status, outcome in OUTCOME_OF.items()}


def shown(
    record: Record, query: Query, principal: Principal, owner: Prefix
) -> tuple[Record, tuple[int, ...]]:
    """Return the record with what `principal` may see of what `query` asks for, and the indexes withheld.

    Args:
        record: whole.
        query: the question.
        principal: who asks.
        owner: the prefix at which a role lets somebody read everything.
    """
    asked = record.values
    if record.status is Status.DELETED:
        asked = tuple(value for value in asked if value.index == TOMBSTONE_INDEX)
    elif query.indexes or query.types:
        asked = _asked_for(asked, query)
    seen = visible(asked, principal, owner)
    by_type = bool(query.types) and record.status is not Status.DELETED
    if len(seen) == len(asked) and not by_type:
        return (record if asked is record.values else replace(record, values=asked)), ()
    reached = record.values if by_type else asked
    open_to = {value.index for value in visible(reached, principal, owner)}
    return replace(record, values=seen), tuple(v.index for v in reached if v.index not in open_to)


def life_of(values: Sequence[Value], now: float) -> int:
    """Return for how many seconds from `now` on these values may be kept."""
    least = min(
        (
            value.ttl if value.ttl_type is TtlType.RELATIVE else int(value.ttl - now)
            for value in values
        ),
        default=DEFAULT_TTL_SECONDS,
    )  # fmt: skip
    return max(0, min(least, MAX_TTL_SECONDS))


def _asked_for(values: tuple[Value, ...], query: Query) -> tuple[Value, ...]:
    exact: set[str] = set()
    families: list[str] = []
    for name in map(fold, query.types):
        if name.endswith("."):
            families.append(name)
            exact.add(name[:-1])
        else:
            exact.add(name)
    family = tuple(families)
    return tuple(
        value
        for value in values
        if value.index in query.indexes
        or value.index == TOMBSTONE_INDEX
        or (kind := fold(value.type)) in exact
        or (family and kind.startswith(family))
    )
