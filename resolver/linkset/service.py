"""What `/id` answers: the look-up, and the decision between page, links and redirect."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.errors import GoneError, NotFoundError, NotResponsibleError
from registry.identifier import Identifier, to_url_path
from registry.principal import ANONYMOUS, Principal
from registry.record import Record, Status
from resolver.answer import Answer, Outcome, Query
from resolver.links import DEFAULT_LINK, Link, default_of, expanded, links_of
from resolver.linkset.negotiation import Form, Wish, nearest
from resolver.scan.content import references_of

__all__ = ["Decision", "Resolving", "Scan", "decide", "successors_of"]

#: From a container to its batch to its substance.
_INSIDE_HOPS = 2
_INSIDE_MOST = 4


class Resolving(Protocol):
    """Resolution.

    Consistency: as fresh as the answer says. Durability: reads only. Concurrency: any number of tasks. Errors: none
    raised for what was asked; a failed answer carries its error.
    """

    async def resolve(self, query: Query, principal: Principal = ANONYMOUS) -> Answer:
        """Answer one question."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What to send.

    Attributes:
        form: page, links, or redirect.
        gone: the object was withdrawn or deleted; never redirected, answered with 410.
        links: all links of the record.
        target: where a redirect leads.
        choices: several links fit equally well.
    """

    form: Form
    gone: bool
    links: tuple[Link, ...]
    target: Link | None = None
    choices: tuple[Link, ...] = ()


class Scan:
    """Looks up what was scanned."""

    def __init__(self, *, resolver: Resolving) -> None:
        self._resolver = resolver

    async def look_up(self, asked: str, principal: Principal, *, with_chain: bool) -> tuple[Answer, Record]:
        """Resolve what stands in the path: exactly, then without a trailing slash.

        Raises:
            MalformedIdentifierError: it breaks the syntax.
            NotFoundError: there is nothing under it.
            NotResponsibleError: it is served elsewhere, and this node does not ask further.
            HazlinkError: why the look-up failed.
        """
        if not asked.strip("/"):
            raise NotFoundError("resolver.scan.no_identifier", field="identifier")
        Identifier.parse(asked, field="identifier")
        answer = await self._resolver.resolve(Query(asked, with_chain=with_chain), principal)
        bare = asked.rstrip("/")
        if answer.outcome is Outcome.NOT_FOUND and bare != asked and "/" in bare:
            answer = await self._resolver.resolve(Query(bare, with_chain=with_chain), principal)
        return answer, _record_of(answer)

    async def inside(self, record: Record, principal: Principal) -> tuple[Record, ...]:
        """Return what the record points to as being inside it, nearest first; what cannot be had is left out."""
        found: list[Record] = []
        seen = {record.identifier.key}
        level: Sequence[Record] = (record,)
        for _ in range(_INSIDE_HOPS):
            following: list[Record] = []
            for target in (target for holder in level for target in references_of(holder)):
                if len(found) == _INSIDE_MOST:
                    break
                answer = await self._resolver.resolve(Query(target), principal)
                other = answer.record
                if other is None or other.status is Status.DELETED or other.identifier.key in seen:
                    continue
                seen.add(other.identifier.key)
                found.append(other)
                following.append(other)
            level = following
        return tuple(found)


def _record_of(answer: Answer) -> Record:
    if answer.error is not None:
        raise answer.error
    if answer.outcome is Outcome.REFERRAL and answer.referral is not None:
        raise NotResponsibleError(
            "resolver.scan.referred", handle=answer.asked, prefix=answer.referral.prefix.key
        )
    if answer.record is None:
        kind = GoneError if answer.outcome is Outcome.DELETED else NotFoundError
        raise kind("resolver.scan.not_found", handle=answer.asked)
    return answer.record


def decide(
    record: Record, wish: Wish, *, base_url: str, accept: str | None, accept_language: str | None
) -> Decision:
    """Say what to send for a record that was found.

    Raises:
        NotFoundError: no link of the type asked for.
    """
    links = links_of(record, base_url=base_url)
    gone = record.status is not Status.ACTIVE
    if wish.form is not Form.REDIRECT:
        return Decision(wish.form, gone, links)
    if gone:
        return Decision(Form.LINKSET, gone, links)
    wanted = expanded(wish.link_type) if wish.link_type else DEFAULT_LINK
    if wanted == DEFAULT_LINK:
        return Decision(Form.REDIRECT, gone, links, target=default_of(links))
    fitting = nearest(
        [link for link in links if link.rel == wanted], accept=accept, accept_language=accept_language
    )
    if not fitting:
        raise NotFoundError(
            "resolver.scan.no_link", field="linkType", handle=record.identifier.text, value=wish.link_type
        )
    if len(fitting) > 1:
        return Decision(Form.REDIRECT, gone, links, choices=fitting)
    return Decision(Form.REDIRECT, gone, links, target=fitting[0])


def successors_of(record: Record, base_url: str) -> tuple[str, ...]:
    """Return where what replaces the record is found."""
    tombstone = record.tombstone
    return (
        tuple(f"{base_url}/id/{to_url_path(other)}" for other in tombstone.replaced_by) if tombstone else ()
    )
