"""Questions, outcomes and the log of what was asked, as JSON for people and programs."""

from typing import Any

from federation.queries.query import AnswerStatus, Question
from federation.queries.service import Outcome
from federation.queries.storage import Asked
from registry.errors import HazlinkError

__all__ = ["from_asked", "from_outcome", "from_question"]


def from_question(question: Question) -> dict[str, Any]:
    """Return the form of a question."""
    body = question.to_body()
    del body["identifiers"]
    return body


def from_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return the form of what one prefix said; a refusal with its reason in both languages."""
    made: dict[str, Any] = {"prefix": outcome.prefix.key, "status": outcome.status.value}
    answer = outcome.answer
    if answer is not None:
        made |= {
            "content": dict(answer.content),
            "answered_at": answer.answered_at,
            "handed_on": [child.key for child in answer.handed_on],
            "env": outcome.env,
        }
    reason = answer.reason if answer is not None else ""
    if outcome.status is AnswerStatus.SILENT:
        reason = "federation.queries.silent"
    if reason:
        made |= {"reason": reason, **_texts(reason)}
    return made


def from_asked(asked: Asked) -> dict[str, Any]:
    """Return the form of one line of the log of what was asked of a prefix."""
    return {
        **from_question(asked.question),
        "prefix": asked.prefix.key,
        "came_from": asked.came_from.key,
        "at": asked.at,
        "env": asked.env,
        "status": asked.status or "waiting",
        "answered_at": asked.answered_at,
    }


def _texts(reason: str) -> dict[str, str]:
    try:
        error = HazlinkError(reason)
        return {"reason_zh": error.message("zh"), "reason_en": error.message("en")}
    except (KeyError, LookupError, ValueError):
        # another release's reason: its code is all there is
        return {}
