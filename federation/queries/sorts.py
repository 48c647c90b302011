"""Sorts of questions a node can answer. The first: the records of identifiers, as the federation may see them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson

from federation.queries.query import Question
from registry.identifier import Identifier, Prefix
from registry.prefixes.record_form import to_form
from registry.principal import Grant, Principal, Role, visible
from registry.record import Record

__all__ = ["RecordsSort", "Sort"]


class Sort(Protocol):
    """One sort of question.

    Consistency: an answer is what stood here at one moment. Durability: it changes nothing. Concurrency: any number
    of threads. Errors: ForbiddenError, InvalidValueError, NotSupportedError become a refusal in the answer;
    UnavailableError means that the question is tried again.
    """

    @property
    def name(self) -> str:
        """The word that stands in `sort`."""
        ...

    def answer(self, question: Question, prefix: Prefix) -> Mapping[str, Any]:
        """Return what `prefix`, homed here, can say to the asker; JSON data."""
        ...


class RecordsSort:
    """`records`: the records of the question's subjects, with every value the asker may see.

    Values for the federation and for the asker's prefix come along with their salted digests, so that the asker
    verifies them under the same signature as everybody; private ones stay where they are.

    Args:
        records: the registry's reader, in the order asked, None where there is nothing.
    """

    name = "records"

    def __init__(self, *, records: Callable[[Sequence[Identifier]], list[Record | None]]) -> None:
        self._records = records

    def answer(self, question: Question, prefix: Prefix) -> Mapping[str, Any]:
        """Return `{"records": [...], "not_found": [...]}` for the subjects of this prefix itself."""
        asker = Principal(
            name=f"node:{question.asker.key}", grants=frozenset({Grant(question.asker, Role.NODE)})
        )
        subjects = [
            identifier
            for identifier in map(Identifier.parse, question.about(prefix))
            if (identifier.named_prefix or identifier.prefix) == prefix
        ]
        found = self._records(subjects)
        told = {
            "records": [
                to_form(replace(record, values=visible(record.values, asker, prefix)))
                for record in found
                if record is not None
            ],
            "not_found": [
                subject.text for subject, record in zip(subjects, found, strict=True) if record is None
            ],
        }
        # as its reader will see it: arrays are lists
        made: Mapping[str, Any] = orjson.loads(orjson.dumps(told))
        return made
