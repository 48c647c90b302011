"""What crosses between a node and its superior, as JSON; read strictly on both sides."""

from collections.abc import Mapping
from typing import Any

from registry.delegation import Contact
from registry.errors import MalformedError
from registry.identifier import Prefix
from registry.prefixes.joindesk import Application, Standing
from registry.trust.claims import Claims

__all__ = ["from_application", "from_standing", "to_application", "to_standing"]

_MAX_SECRET = 128
_MAX_TOKEN = 65_536
_MAX_TEXT = 2048
_MAX_ROOTS = 64
_MAX_CHAIN = 8
_MAX_LIST = 262_144
_MAX_LISTS = 16


def from_application(made: Application) -> dict[str, Any]:
    """Return the JSON form of a request for a prefix."""
    return {
        "secret": made.secret,
        "jwk": dict(made.jwk),
        "possession": made.possession,
        "prefix": made.prefix,
        "endpoints": dict(made.endpoints),
        "name": made.who.name,
        "contact": made.who.contact,
        "note": made.who.note,
    }


def to_application(form: Mapping[str, Any]) -> Application:
    """Read a request for a prefix.

    Raises:
        MalformedError: a member is missing, too long or of another type.
    """
    claims = Claims(form)
    return Application(
        secret=claims.text("secret", _MAX_SECRET),
        jwk=claims.object("jwk"),
        possession=claims.text("possession", 4096),
        prefix=claims.optional_text("prefix"),
        endpoints=claims.object("endpoints"),
        who=Contact(name=_text(claims, "name"), contact=_text(claims, "contact"), note=_text(claims, "note")),
    )


def from_standing(made: Standing) -> dict[str, Any]:
    """Return the JSON form of how a prefix stands."""
    return {
        "prefix": made.prefix.key,
        "state": made.state,
        "ticket": made.ticket,
        "reason": made.reason,
        "reason_zh": made.reason_zh,
        "reason_en": made.reason_en,
        "remark": made.remark,
        "roots": list(made.roots),
        "chain": list(made.chain),
        "record": made.record,
        "revocations": list(made.revocations),
        "histories": list(made.histories),
    }


def to_standing(form: Mapping[str, Any]) -> Standing:
    """Read how a prefix stands.

    Raises:
        MalformedError: a member is missing, too long or of another type.
    """
    claims = Claims(form)
    state = claims.text("state")
    if state not in ("pending", "refused", "active", "suspended", "revoked"):
        raise MalformedError("registry.trust.claim_type", field="state", right="pending … revoked")
    return Standing(
        prefix=Prefix.parse(claims.text("prefix"), field="prefix"),
        state=state,
        ticket=claims.optional_text("ticket"),
        reason=_text(claims, "reason"),
        reason_zh=_text(claims, "reason_zh"),
        reason_en=_text(claims, "reason_en"),
        remark=_text(claims, "remark"),
        roots=_texts(claims, "roots", _MAX_ROOTS),
        chain=_texts(claims, "chain", _MAX_CHAIN),
        record=claims.object("record") if form.get("record") is not None else None,
        revocations=_lists(claims, "revocations"),
        histories=_lists(claims, "histories"),
    )


def _text(claims: Claims, name: str) -> str:
    """Return a text that may be empty or missing."""
    return claims.text(name, _MAX_TEXT) if claims.content.get(name) else ""


def _texts(claims: Claims, name: str, most: int) -> tuple[str, ...]:
    found = claims.array(name, most=most)
    if not all(isinstance(item, str) and len(item) <= _MAX_TOKEN for item in found):
        raise MalformedError("registry.trust.claim_type", field=claims.where(name), right="array of texts")
    return tuple(found)


def _lists(claims: Claims, name: str) -> tuple[str, ...]:
    """Return signed lists; a superior of an older version sends none."""
    if name not in claims.content:
        return ()
    found = claims.array(name, most=_MAX_LISTS)
    if not all(isinstance(item, str) and len(item) <= _MAX_LIST for item in found):
        raise MalformedError("registry.trust.claim_type", field=claims.where(name), right="array of texts")
    return tuple(found)
