"""A question between nodes and its answers: what they say, and when they hold.

Rules (DESIGN, decision 10; issue of the signed exchange):

- a question names who asks (the prefix that signs, and the person), why, about what, and until when;
- it goes to prefixes that lie at or below the asker, label by label; nobody else need answer;
- it is about identifiers or about whole prefixes, at most 1,000 of them, all within its targets;
- after its expiry nobody answers any more; a node that stayed silent has a tombstone in the result;
- an answer is about exactly one prefix, is signed by that prefix, and says which of its hosted or delegated children
  the question was handed on to, so that the asker knows whom to wait for;
- every target is waited for, whether anybody is there or not; a prefix between asker and target only passes it on.

Question and answer travel as bodies of envelopes (types `query.ask` and `query.answer`, schema `query/1`); the
envelope's signature is theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from registry.errors import InvalidValueError, MalformedError
from registry.identifier import Identifier, Prefix
from registry.trust.claims import Claims

__all__ = [
    "ANSWER_TYPE",
    "ASK_TYPE",
    "MAX_SUBJECTS",
    "SCHEMA",
    "STREAM",
    "Answer",
    "AnswerStatus",
    "Question",
]

STREAM = "query"
ASK_TYPE = "query.ask"
ANSWER_TYPE = "query.answer"
SCHEMA = "query/1"

MAX_SUBJECTS = 1_000
_MAX_TARGETS = 1_000
_MAX_TEXT = 500
_MAX_CHILDREN = 10_000
#: How long a question may stay open: the node's own definition.
MAX_LIFE_SECONDS = 30 * 86_400


class AnswerStatus(StrEnum):
    """What became of a question at one prefix."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the node says no, and why
    UNSUPPORTED = "unsupported"  # the node does not know this sort of question yet
    EXPIRED = "expired"  # it came too late
    PASSED_ON = "passed_on"  # it only came through, on the way to a target; no node sends it
    SILENT = "silent"  # the tombstone the asker sets; no node sends it
    WAITING = "waiting"  # asked, no answer yet, not expired yet


#: What a node may say of itself.
_SAID = frozenset(
    {AnswerStatus.ANSWERED, AnswerStatus.REFUSED, AnswerStatus.UNSUPPORTED, AnswerStatus.EXPIRED}
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        id: UUID that names the question everywhere.
        asker: the prefix that asks, and signs.
        person: who asks on its behalf, as its own accounts name them.
        purpose: why, in the asker's words.
        sort: what is to be found out, such as `records`.
        targets: the prefixes that are to answer, each at or below the asker.
        subjects: the identifiers it is about; none: about all of each target.
        params: what else the sort of question needs.
        asked_at: POSIX seconds.
        expires: POSIX seconds after which nobody answers.
    """

    id: str
    asker: Prefix
    person: str
    purpose: str
    sort: str
    targets: tuple[Prefix, ...]
    subjects: tuple[str, ...]
    params: Mapping[str, Any]
    asked_at: int
    expires: int

    def to_body(self) -> dict[str, Any]:
        """Return the body of its envelope."""
        return {
            "query": self.id,
            "asker": self.asker.key,
            "person": self.person,
            "purpose": self.purpose,
            "sort": self.sort,
            # `identifiers` is what the receiver holds against the asker's rights
            "identifiers": [target.handle.text for target in self.targets] + list(self.subjects),
            "targets": [target.key for target in self.targets],
            "subjects": list(self.subjects),
            "params": dict(self.params),
            "asked_at": self.asked_at,
            "expires": self.expires,
        }

    @classmethod
    def from_body(cls, body: Any) -> "Question":
        """Read a body.

        Raises:
            MalformedError: a member is missing or of another type.
            InvalidValueError: it breaks a rule of this module.
        """
        claims = Claims(body)
        asker = Prefix.parse(claims.text("asker", 64), field="asker")
        targets = tuple(
            Prefix.parse(text, field="targets") for text in claims.texts("targets", most=_MAX_TARGETS)
        )
        subjects = claims.array("subjects", most=MAX_SUBJECTS)
        made = cls(
            id=claims.text("query", 64),
            asker=asker,
            person=claims.text("person", _MAX_TEXT),
            purpose=claims.text("purpose", _MAX_TEXT),
            sort=claims.text("sort", 64),
            targets=targets,
            subjects=tuple(_subject(text, targets) for text in subjects),
            params=claims.object("params"),
            asked_at=claims.integer("asked_at"),
            expires=claims.integer("expires"),
        )
        made.require_sound()
        return made

    def require_sound(self) -> None:
        """Refuse a question that breaks a rule of this module.

        Raises:
            InvalidValueError: a target is not the asker's, a subject is no target's, or it lives too long.
        """
        for target in self.targets:
            if not self.asker.contains(target):
                raise InvalidValueError(
                    "federation.queries.not_below", field="targets", value=target.key, asker=self.asker.key
                )
        for subject in self.subjects:
            _subject(subject, self.targets)
        if not self.asked_at < self.expires <= self.asked_at + MAX_LIFE_SECONDS:
            raise InvalidValueError(
                "federation.queries.life",
                field="expires",
                value=self.expires,
                days=MAX_LIFE_SECONDS // 86_400,
            )
        if not self.purpose.strip():
            raise InvalidValueError("federation.queries.purpose", field="purpose")

    def about(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the subjects that `prefix` itself can speak about."""
        return tuple(text for text in self.subjects if _names(text, prefix))

    def is_put_to(self, prefix: Prefix) -> bool:
        """Say whether `prefix` itself is to answer."""
        return any(target.contains(prefix) for target in self.targets)

    def concerns(self, prefix: Prefix) -> bool:
        """Say whether `prefix`, or something below it, is to answer."""
        return any(prefix.contains(target) or target.contains(prefix) for target in self.targets)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one prefix says.

    Attributes:
        query: the id of the question.
        prefix: who answers.
        status: one of `answered`, `refused`, `unsupported`, `expired`.
        content: the findings; their form is the sort's.
        reason: code of a catalogue text, where it did not answer.
        handed_on: the children the question was handed on to.
        answered_at: POSIX seconds.
    """

    query: str
    prefix: Prefix
    status: AnswerStatus
    content: Mapping[str, Any]
    reason: str
    handed_on: tuple[Prefix, ...]
    answered_at: int

    def to_body(self) -> dict[str, Any]:
        """Return the body of its envelope."""
        return {
            "query": self.query,
            "prefix": self.prefix.key,
            "status": self.status.value,
            "content": dict(self.content),
            "reason": self.reason,
            "handed_on": [child.key for child in self.handed_on],
            "answered_at": self.answered_at,
        }

    @classmethod
    def from_body(cls, body: Any) -> "Answer":
        """Read a body.

        Raises:
            MalformedError: a member is missing or of another type.
        """
        claims = Claims(body)
        status = claims.text("status", 32)
        if status not in _SAID:
            raise MalformedError("registry.trust.claim_type", field="status", right="answered … expired")
        reason = claims.get("reason")
        if not isinstance(reason, str) or len(reason) > _MAX_TEXT:
            raise MalformedError("registry.trust.claim_type", field="reason", right=f"text (0–{_MAX_TEXT})")
        return cls(
            query=claims.text("query", 64),
            prefix=Prefix.parse(claims.text("prefix", 64), field="prefix"),
            status=AnswerStatus(status),
            content=claims.object("content"),
            reason=reason,
            handed_on=_prefixes(claims.array("handed_on", most=_MAX_CHILDREN)),
            answered_at=claims.integer("answered_at"),
        )


def _prefixes(texts: Sequence[Any]) -> tuple[Prefix, ...]:
    if not all(isinstance(text, str) for text in texts):
        raise MalformedError("registry.trust.claim_type", field="handed_on", right="array of prefixes")
    return tuple(Prefix.parse(text, field="handed_on") for text in texts)


def _subject(text: Any, targets: Sequence[Prefix]) -> str:
    if not isinstance(text, str):
        raise MalformedError("registry.trust.claim_type", field="subjects", right="array of identifiers")
    if not any(_names(text, target) for target in targets):
        raise InvalidValueError("federation.queries.not_target", field="subjects", value=text[:128])
    return text


def _names(text: str, prefix: Prefix) -> bool:
    identifier = Identifier.parse(text, field="subjects")
    return prefix.contains(identifier.named_prefix or identifier.prefix)
