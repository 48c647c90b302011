"""The superior's desk: takes requests for prefixes, and lets the operator approve or refuse them.

What a request must show, in this order; the first that fails is the answer:

1. an invitation that is known, fits and is not used up;
2. a public key that is admitted (on the curve, not of low order, an allowed algorithm);
3. a prefix one label below the inviting one, compared label by label: 88.10 is not below 88.1;
4. possession of the private key: a signature over this prefix, this superior, and a fresh nonce, all in one.

Only then does the request take up room, of which there is a limited amount.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry.delegation import (
    Contact,
    Delegation,
    DelegationState,
    HomeState,
    Invitation,
    JoinRequest,
    Origin,
    Purpose,
    RequestState,
)
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidValueError,
    LimitError,
    MalformedIdentifierError,
    NotFoundError,
)
from registry.identifier import Prefix
from registry.language import text
from registry.prefixes.endpoints import check_length, read_endpoints, to_endpoints
from registry.prefixes.issuing import Grant, retired
from registry.prefixes.office import Office
from registry.prefixes.record_form import to_form
from registry.principal import Operation, Principal
from registry.storage.prefixes import PrefixUnit
from registry.trust.algorithms import PublicKey, admit
from registry.trust.possession import verify_possession
from registry.trust.statement import read

__all__ = ["DENIALS", "Application", "JoinDesk", "Standing"]

#: Reasons an operator may refuse with; each is a pair of texts in the catalogue, `denial_<reason>`.
DENIALS = ("unverified", "not_ours", "taken", "incomplete", "key", "other")

_TICKET = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_NAME = 200
_MAX_NOTE = 1000


@dataclass(frozen=True, slots=True)
class Application:
    """What a guest sends.

    Attributes:
        secret: the invitation's.
        jwk: the public key it will sign with.
        possession: proof that it holds the private key, over a nonce of the superior's.
        prefix: the prefix it wants; None takes the invitation's.
        endpoints: where its node will answer.
    """

    secret: str
    jwk: Mapping[str, Any]
    possession: str
    prefix: str | None
    endpoints: Mapping[str, Any]
    who: Contact


@dataclass(frozen=True, slots=True)
class Standing:
    """How a prefix stands with its superior, as told to its holder.

    Attributes:
        state: `pending`, `refused`, or the delegation's `active`, `suspended`, `revoked`.
        reason: code of the denial.
        reason_zh: the denial in Chinese.
        reason_en: the denial in English.
        remark: the operator's own words.
        roots: every version of the root document.
        chain: statements leaf first, once decided.
        record: `0.NA/<prefix>` as the superior signed it.
        revocations: newest revocation lists of the issuers in the chain, the root's last.
        histories: newest lists of all keys of the prefixes in the chain, leaf first.
    """

    prefix: Prefix
    state: str
    ticket: str | None = None
    reason: str = ""
    reason_zh: str = ""
    reason_en: str = ""
    remark: str = ""
    roots: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    record: Mapping[str, Any] | None = None
    revocations: tuple[str, ...] = ()
    histories: tuple[str, ...] = ()


class JoinDesk:
    """Takes, shows and decides requests."""

    def __init__(self, *, office: Office, allow_loopback: bool) -> None:
        self._office = office
        self._allow_loopback = allow_loopback

    def submit(self, application: Application) -> Standing:
        """Take a request; the same request sent again gives the same standing.

        Raises:
            UnauthenticatedError: the invitation or the nonce is unknown or used up.
            ForbiddenError: the invitation has expired, was used with another key, or is for another prefix.
            UntrustedError: the key is not admitted, or its possession is not proven.
            MalformedIdentifierError: the prefix breaks the syntax or is not directly below the inviting one.
            InvalidValueError: a contact or endpoint field breaks its rule.
            ExistsError: the prefix is taken or waits already.
            LimitError: too many requests wait.
            NotResponsibleError: the inviting prefix has left this node.
        """
        office = self._office
        endpoints = read_endpoints(application.endpoints, allow_loopback=self._allow_loopback)
        _check_contact(application.who)
        with office.store.write() as unit:
            parent = office.invitations.find(unit, application.secret).parent
            office.homes.signer_for(parent)  # whether this node may still sign for it
            key = admit(application.jwk, read(office.homes.chain(parent)[0]).algs)
            invitation = office.invitations.check(unit, application.secret, key.kid)
            prefix = _wanted(invitation, application.prefix)
            nonce = verify_possession(
                application.possession,
                key,
                audience=parent.handle.text,
                subject=prefix.handle.text,
                now=office.now(),
            )
            office.invitations.use_nonce(unit, nonce)
            request = self._place(unit, invitation, prefix, key, endpoints=endpoints, who=application.who)
        return self.standing(request.ticket)

    def standing(self, ticket: str) -> Standing:
        """Return how a request stands.

        Raises:
            NotFoundError: there is no such ticket.
        """
        if not _TICKET.fullmatch(ticket):  # no text for every database
            raise NotFoundError("registry.prefixes.ticket_unknown", field="ticket")
        with self._office.store.read() as unit:
            request = unit.request(ticket)
            roots = tuple(unit.roots())
        if request is None:
            raise NotFoundError("registry.prefixes.ticket_unknown", field="ticket")
        if request.state is RequestState.APPROVED:
            return replace(self.delegated(request.prefix), ticket=ticket)
        refused = request.state is RequestState.REFUSED
        denial = f"registry.prefixes.denial_{request.reason}"
        return Standing(
            prefix=request.prefix,
            state=request.state.value,
            ticket=ticket,
            reason=request.reason,
            reason_zh=text(denial, "zh") if refused else "",
            reason_en=text(denial, "en") if refused else "",
            remark=request.remark,
            roots=roots,
        )

    def delegated(self, prefix: Prefix) -> Standing:
        """Return the newest delegation of a prefix as its holder needs it.

        Raises:
            NotFoundError: the prefix was not delegated here.
        """
        office = self._office
        with office.store.read() as unit:
            made = office.delegated(unit, prefix)
            roots = tuple(unit.roots())
            revocations, histories = office.lists(unit, prefix)
        if not made.published:
            office.settle()
        record = office.records.records([prefix.handle])[0]
        return Standing(
            prefix=prefix,
            state=made.state.value,
            roots=roots,
            chain=(made.token, *office.homes.chain(made.parent)),
            record=to_form(record) if record else None,
            revocations=revocations,
            histories=histories,
        )

    def requests(self, principal: Principal, parent: Prefix) -> list[JoinRequest]:
        """Return the requests that wait under a parent.

        Raises:
            ForbiddenError: the principal is no operator there.
        """
        principal.require(Operation.PREFIX_DELEGATE, parent)
        with self._office.store.read() as unit:
            return unit.requests(parent, state=RequestState.PENDING)

    def approve(self, principal: Principal, prefix: Prefix) -> Delegation:
        """Sign the delegation somebody asked for, and publish it.

        Raises:
            NotFoundError: nobody asks for this prefix.
            ForbiddenError: the principal is no operator of the parent.
            ConflictError: a hosted prefix must be exported before it is handed over.
        """
        office = self._office
        with office.store.write() as unit:
            request = self._pending(unit, principal, prefix)
            made = self._delegate(unit, request)
            decided = replace(
                request, state=RequestState.APPROVED, decided_at=office.now(), decided_by=principal.name
            )
            unit.put_request(decided)
            detail = {"kid": request.kid, "version": made.version, "purpose": request.purpose.value}
            office.note(unit, prefix, principal.name, "approved", detail)
        office.settle()
        return made

    def refuse(self, principal: Principal, prefix: Prefix, *, reason: str, remark: str = "") -> JoinRequest:
        """Refuse a request, with a reason that its sender reads in Chinese and English.

        Raises:
            NotFoundError: nobody asks for this prefix.
            ForbiddenError: the principal is no operator of the parent.
            InvalidValueError: the reason is not in the catalogue, or the remark is too long.
        """
        office = self._office
        if reason not in DENIALS:
            raise InvalidValueError(
                "registry.prefixes.denial_unknown", field="reason", value=reason, known=", ".join(DENIALS)
            )
        check_length("remark", remark, _MAX_NOTE)
        with office.store.write() as unit:
            request = self._pending(unit, principal, prefix)
            decided = replace(
                request,
                state=RequestState.REFUSED,
                decided_at=office.now(),
                decided_by=principal.name,
                reason=reason,
                remark=remark,
            )
            unit.put_request(decided)
            office.note(unit, prefix, principal.name, "refused", {"reason": reason, "remark": remark})
        return decided

    def _place(
        self,
        unit: PrefixUnit,
        invitation: Invitation,
        prefix: Prefix,
        key: PublicKey,
        *,
        endpoints: Mapping[str, Any],
        who: Contact,
    ) -> JoinRequest:
        office = self._office
        ticket = office.invitations.ticket(invitation, key.kid)
        known = unit.request(ticket)
        if known is not None:
            return known
        _check_free(unit, invitation.purpose, prefix)
        if unit.pending_request(prefix) is not None:
            raise ExistsError("registry.prefixes.not_free_pending", field="prefix", prefix=prefix.key)
        if unit.count_pending(invitation.parent) >= office.terms.pending_limit:
            raise LimitError("registry.prefixes.pending_limit", limit=office.terms.pending_limit)
        if not unit.use_invitation(invitation.digest, key.kid, office.now()):
            raise ForbiddenError("registry.prefixes.invitation_used", field="secret")
        request = JoinRequest(
            ticket=ticket,
            prefix=prefix,
            parent=invitation.parent,
            purpose=invitation.purpose,
            kid=key.kid,
            jwk={**key.jwk, "alg": key.alg},
            endpoints=endpoints,
            who=who,
            state=RequestState.PENDING,
            requested_at=office.now(),
        )
        unit.put_request(request)
        office.note(unit, prefix, who.name or prefix.key, "requested", {"kid": key.kid})
        return request

    def _pending(self, unit: PrefixUnit, principal: Principal, prefix: Prefix) -> JoinRequest:
        request = unit.pending_request(prefix)
        if request is None:
            principal.require(Operation.PREFIX_DELEGATE)
            raise NotFoundError("registry.prefixes.request_unknown", field="prefix", prefix=prefix.key)
        principal.require(Operation.PREFIX_DELEGATE, request.parent)
        return request

    def _delegate(self, unit: PrefixUnit, request: JoinRequest) -> Delegation:
        office = self._office
        _check_free(unit, request.purpose, request.prefix)
        key = admit(request.jwk, [str(request.jwk["alg"])])
        before = unit.delegation(request.prefix)
        old = retired(read(before.token), exp=office.now(), without=[key.kid]) if before else ()
        home = unit.home(request.prefix)
        if request.purpose is Purpose.HANDOVER and home is not None:
            if home.state is not HomeState.CLOSING:
                raise ConflictError(
                    "registry.prefixes.export_first", field="prefix", prefix=request.prefix.key
                )
            unit.put_home(replace(home, state=HomeState.CLOSED))
        fresh = office.issuer.key(key)
        grant = Grant(
            keys=(fresh, *old)[: office.terms.keys_limit],
            endpoints=to_endpoints(request.endpoints),
            who=request.who,
        )
        return office.issuer.issue(unit, request.prefix, request.parent, grant)


def _check_contact(who: Contact) -> None:
    check_length("name", who.name, _MAX_NAME)
    check_length("contact", who.contact, _MAX_NAME)
    check_length("note", who.note, _MAX_NOTE)


def _wanted(invitation: Invitation, spelling: str | None) -> Prefix:
    if spelling is None:
        if invitation.prefix is None:
            raise InvalidValueError(
                "registry.prefixes.prefix_needed", field="prefix", parent=invitation.parent.key
            )
        return invitation.prefix
    prefix = Prefix.parse(spelling, field="prefix")
    if invitation.prefix is not None and prefix != invitation.prefix:
        raise ForbiddenError(
            "registry.prefixes.prefix_other",
            field="prefix",
            prefix=prefix.key,
            invited=invitation.prefix.key,
        )
    if prefix.parent != invitation.parent:
        raise MalformedIdentifierError(
            "registry.prefixes.prefix_outside",
            field="prefix",
            value=prefix.key,
            parent=invitation.parent.key,
        )
    return prefix


def _check_free(unit: PrefixUnit, purpose: Purpose, prefix: Prefix) -> None:
    """Refuse a request that does not fit how the prefix stands now."""
    made, home = unit.delegation(prefix), unit.home(prefix)
    hosted = home is not None and home.origin is Origin.HOSTED and home.state is not HomeState.CLOSED
    revoked = made is not None and made.state is DelegationState.REVOKED
    fits = {
        Purpose.JOIN: made is None and home is None,
        Purpose.HANDOVER: made is not None and hosted and not revoked,
        Purpose.REKEY: made is not None and not hosted and not revoked,
    }[purpose]
    if not fits:
        raise ExistsError(f"registry.prefixes.not_free_{purpose.value}", field="prefix", prefix=prefix.key)
