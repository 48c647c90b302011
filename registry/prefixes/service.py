"""Prefixes: the one door to this room. It makes the services beneath and keeps their order.

Who may do what: the operator of a parent invites, approves, refuses, suspends, resumes, revokes and hosts below
it; the administrator of a prefix changes its keys and endpoints and hands it over. Each change is written to the
prefix's trail in the same transaction.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from registry.clock import Clock
from registry.delegation import AuditLine, Contact, Delegation, Home, JoinRequest, Purpose
from registry.errors import InvalidValueError, MalformedIdentifierError, NotResponsibleError
from registry.identifier import Prefix
from registry.prefixes.delegating import Delegating
from registry.prefixes.endpoints import is_allowed_url, read_endpoints, to_endpoints
from registry.prefixes.handover import Handover, HandoverSummary
from registry.prefixes.homes import Homes, Keys
from registry.prefixes.hosting import Hosting
from registry.prefixes.invitations import InvitationLetter, Invitations
from registry.prefixes.issuing import Issuer, Terms
from registry.prefixes.joindesk import Application, JoinDesk, Standing
from registry.prefixes.joining import Joining
from registry.prefixes.office import Office
from registry.prefixes.publishing import Publisher, Records
from registry.prefixes.revoking import Revoking
from registry.prefixes.rooting import Rooting
from registry.principal import Operation, Principal
from registry.storage.prefixes import PrefixStore
from registry.trust.chain import Marks
from registry.trust.revocation import LastGood, Reason
from registry.trust.root import Anchor
from registry.trust.statement import Endpoints

__all__ = ["Prefixes"]

_MAX_PAGE = 1000


class Prefixes:
    """The prefixes of this node.

    Consistency: each call is one transaction over the tables of prefixes, then the publication of `0.NA` records,
    which is made up for by `upkeep` if the process dies in between. Durability: as `Database`. Concurrency: any
    number of threads and processes. Errors: as each method says; UnavailableError from the database throughout.

    Args:
        store: the tables.
        homes: the picture in memory; refreshed after every change.
        keys: where private keys are kept.
        records: the registry.
        marks: newest statements seen.
        clock: the time.
        entropy: source of random bytes.
        secret: the node's own 32 bytes for keyed hashes, the same for every process of the node.
        terms: lifetimes and limits.
        allow_loopback: accept plain-http endpoints on loopback (demonstrations and tests).
    """

    def __init__(
        self,
        *,
        store: PrefixStore,
        homes: Homes,
        keys: Keys,
        records: Records,
        marks: Marks,
        clock: Clock,
        entropy: Callable[[int], bytes],
        secret: bytes,
        terms: Terms | None = None,
        allow_loopback: bool = False,
    ) -> None:
        terms = terms or Terms()
        self._allow_loopback = allow_loopback
        self._office = Office(
            store=store,
            homes=homes,
            keys=keys,
            clock=clock,
            terms=terms,
            records=records,
            marks=marks,
            invitations=Invitations(clock=clock, entropy=entropy, secret=secret),
            issuer=Issuer(homes=homes, keys=keys, clock=clock, terms=terms),
            publisher=Publisher(store=store, records=records, terms=terms),
        )
        self._desk = JoinDesk(office=self._office, allow_loopback=allow_loopback)
        self._delegating = Delegating(office=self._office, desk=self._desk, allow_loopback=allow_loopback)
        self._hosting = Hosting(office=self._office, delegating=self._delegating)
        self._revoking = Revoking(office=self._office)
        self._joining = Joining(office=self._office, revoking=self._revoking)
        self._rooting = Rooting(office=self._office, delegating=self._delegating)
        self._handover = Handover(office=self._office)

    @property
    def homes(self) -> Homes:
        """The picture in memory."""
        return self._office.homes

    @property
    def joining(self) -> Joining:
        """The guest's side, for the client that talks to the superior."""
        return self._joining

    @property
    def revoking(self) -> Revoking:
        """What is known against keys, and the lists of keys that others signed."""
        return self._revoking

    @property
    def rooting(self) -> Rooting:
        """The ceremony in which the root gets its next version."""
        return self._rooting

    def anchor(self) -> Anchor | None:
        """Return the trust anchor of this node, if it has one yet.

        Raises:
            UntrustedError: the root has expired.
        """
        return self._joining.anchor()

    def upkeep(self) -> int:
        """Recover after a crash and keep statements fresh; called at the start and by a timer.

        Returns:
            how many statements were issued.
        """
        return self._hosting.upkeep()

    # the top and the hosted

    def init_root(
        self, prefix: Prefix, *, endpoints: Mapping[str, Any], who: str, alg: str = "Ed25519"
    ) -> Home:
        """Make the root and the top prefix; see `Hosting.init_root`."""
        return self._hosting.init_root(prefix, endpoints=self._endpoints(endpoints), who=who, alg=alg)

    def host(self, principal: Principal, prefix: Prefix, *, who: Contact | None = None) -> Home:
        """Home a small enterprise here; see `Hosting.host`."""
        return self._hosting.host(principal, prefix, who=who or Contact())

    def rotate_key(self, principal: Principal, prefix: Prefix, *, compromised: bool = False) -> Home:
        """Give a top or hosted prefix a new key; see `Hosting.rotate_key`."""
        return self._hosting.rotate_key(principal, prefix, compromised=compromised)

    def change_endpoints(
        self, principal: Principal, prefix: Prefix, endpoints: Mapping[str, Any]
    ) -> Delegation:
        """Change where the top prefix is served; see `Hosting.change_endpoints`."""
        return self._hosting.change_endpoints(principal, prefix, self._endpoints(endpoints))

    # the superior's desk

    def invite(
        self,
        principal: Principal,
        parent: Prefix,
        prefix: Prefix | None,
        *,
        urls: tuple[str, ...],
        tls_sha256: str | None = None,
        ttl_seconds: int | None = None,
        purpose: Purpose = Purpose.JOIN,
    ) -> InvitationLetter:
        """Write an invitation to one prefix below `parent`, or (None) to one the guest proposes.

        Raises:
            ForbiddenError: the principal is no operator of the parent.
            NotResponsibleError: the parent is not homed here, or has no root above it yet.
            MalformedIdentifierError: the prefix is not directly below the parent.
            InvalidValueError: no address of this node is given, or one that nobody could reach safely.
        """
        office = self._office
        principal.require(Operation.PREFIX_DELEGATE, parent)
        if prefix is not None and prefix.parent != parent:
            raise MalformedIdentifierError(
                "registry.prefixes.prefix_outside", field="prefix", value=prefix.key, parent=parent.key
            )
        if prefix is None and purpose is not Purpose.JOIN:
            raise InvalidValueError("registry.prefixes.prefix_needed", field="prefix", parent=parent.key)
        for url in urls or ("",):
            if not is_allowed_url(url, allow_loopback=self._allow_loopback):
                raise InvalidValueError("registry.prefixes.url", field="urls", value=url)
        anchor = self.anchor()
        _, home = office.homes.signer_for(parent)
        if home != parent or anchor is None:
            raise NotResponsibleError("registry.prefixes.not_homed", field="parent", prefix=parent.key)
        with office.store.write() as unit:
            made, secret = office.invitations.create(
                unit,
                parent=parent,
                prefix=prefix,
                purpose=purpose,
                ttl=ttl_seconds or office.terms.invitation_seconds,
                by=principal.name,
            )
            detail = {"purpose": purpose.value, "expires": made.expires_at, "open": prefix is None}
            office.note(unit, prefix or parent, principal.name, "invited", detail)
        return InvitationLetter(
            urls=urls,
            anchor=anchor.fingerprint,
            secret=secret,
            parent=parent,
            prefix=prefix,
            expires=made.expires_at,
            tls_sha256=tls_sha256,
            purpose=purpose,
        )

    def challenge(self) -> str:
        """Return a fresh nonce for a proof of possession or an amendment."""
        return self._office.invitations.challenge()

    def use_nonce(self, nonce: str) -> None:
        """Use a nonce up that `challenge` gave out.

        Raises:
            UnauthenticatedError: not one of ours, older than ten minutes, or used before.
            UnavailableError: the database cannot be written.
        """
        with self._office.store.write() as unit:
            self._office.invitations.use_nonce(unit, nonce)

    def submit(self, application: Application) -> Standing:
        """Take a request for a prefix; see `JoinDesk.submit`."""
        return self._desk.submit(application)

    def standing(self, ticket: str) -> Standing:
        """Return how a request stands; see `JoinDesk.standing`."""
        return self._desk.standing(ticket)

    def delegated(self, prefix: Prefix) -> Standing:
        """Return the newest delegation of a prefix; see `JoinDesk.delegated`."""
        return self._desk.delegated(prefix)

    def requests(self, principal: Principal, parent: Prefix) -> list[JoinRequest]:
        """Return the requests that wait; see `JoinDesk.requests`."""
        return self._desk.requests(principal, parent)

    def approve(self, principal: Principal, prefix: Prefix) -> Delegation:
        """Approve a request; see `JoinDesk.approve`."""
        return self._desk.approve(principal, prefix)

    def refuse(
        self, principal: Principal, prefix: Prefix, *, reason: str = "other", remark: str = ""
    ) -> JoinRequest:
        """Refuse a request; see `JoinDesk.refuse`."""
        return self._desk.refuse(principal, prefix, reason=reason, remark=remark)

    # delegations

    def suspend(self, principal: Principal, prefix: Prefix, *, reason: str) -> Delegation:
        """Suspend a delegation; see `Delegating.suspend`."""
        return self._delegating.suspend(principal, prefix, reason=reason)

    def resume(self, principal: Principal, prefix: Prefix, *, reason: str = "") -> Delegation:
        """Resume a delegation; see `Delegating.resume`."""
        return self._delegating.resume(principal, prefix, reason=reason)

    def revoke(self, principal: Principal, prefix: Prefix, *, reason: str) -> Delegation:
        """Revoke a delegation; see `Delegating.revoke`."""
        return self._delegating.revoke(principal, prefix, reason=reason)

    def drop_key(self, principal: Principal, prefix: Prefix, kid: str) -> Delegation:
        """Drop a historical key; see `Delegating.drop_key`."""
        return self._delegating.drop_key(principal, prefix, kid)

    def revoke_key(
        self,
        principal: Principal,
        prefix: Prefix,
        kid: str,
        *,
        reason: Reason = Reason.COMPROMISE,
        at: int | None = None,
        last_good: Mapping[str, LastGood] | None = None,
    ) -> Delegation:
        """Put a key on the revocation list; see `Delegating.revoke_key`."""
        return self._delegating.revoke_key(principal, prefix, kid, reason=reason, at=at, last_good=last_good)

    def amend(self, token: str) -> Standing:
        """Do what the holder of a prefix asks; see `Delegating.amend`."""
        return self._delegating.amend(token)

    def delegations(self, principal: Principal, parent: Prefix) -> list[Delegation]:
        """Return the delegations below a parent.

        Raises:
            ForbiddenError: the principal is no operator of the parent.
        """
        principal.require(Operation.PREFIX_DELEGATE, parent)
        return [made for made in self._office.homes.delegations() if made.parent == parent]

    # hand-over

    def close(self, principal: Principal, prefix: Prefix) -> Home:
        """Close a hosted prefix; see `Handover.close`."""
        return self._handover.close(principal, prefix)

    def reopen(self, principal: Principal, prefix: Prefix) -> Home:
        """Take a closing back; see `Handover.reopen`."""
        return self._handover.reopen(principal, prefix)

    def export_handover(self, principal: Principal, prefix: Prefix, path: Path) -> HandoverSummary:
        """Write the bundle of a hosted prefix; see `Handover.export`."""
        return self._handover.export(principal, prefix, path)

    def accept_handover(self, principal: Principal, path: Path) -> HandoverSummary:
        """Take a bundle in; see `Handover.accept`."""
        return self._handover.accept(principal, path)

    def inherited(self, principal: Principal, prefix: Prefix, subject: str) -> list[Mapping[str, Any]]:
        """Return a trail that came with a hand-over; see `Handover.inherited`."""
        return self._handover.inherited(principal, prefix, subject)

    def history(
        self, principal: Principal, prefix: Prefix, *, after: int = 0, limit: int = 100
    ) -> list[AuditLine]:
        """Return the trail of a prefix, oldest first; its own people and its parent's may read it.

        Raises:
            ForbiddenError: the principal is neither.
        """
        above = prefix.parent
        if above is None or not principal.may(Operation.AUDIT_READ, above):
            principal.require(Operation.AUDIT_READ, prefix)
        with self._office.store.read() as unit:
            return unit.audit(prefix, after=after, limit=min(limit, _MAX_PAGE))

    def _endpoints(self, form: Mapping[str, Any]) -> Endpoints:
        return to_endpoints(read_endpoints(form, allow_loopback=self._allow_loopback))
