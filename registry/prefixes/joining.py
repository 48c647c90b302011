"""The guest's side: what a node does to get a prefix from a superior, and to keep it.

Nothing the superior says is believed before it is verified from the anchor whose fingerprint stood in the
invitation: the root documents, every statement of the chain, the superior's signature on `0.NA/<prefix>`. What is
verified is stored in an order that a crash cannot hurt: new roots, marks, lists, the copy of the record, the home.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from registry.delegation import Contact, Home, HomeState, Origin, Purpose, RequestState, Superior
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    HazlinkError,
    InvalidValueError,
    MalformedIdentifierError,
    NotSupportedError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.delegating import write_amendment
from registry.prefixes.invitations import InvitationLetter, as_date
from registry.prefixes.issuing import best_algorithm
from registry.prefixes.joindesk import Application, Standing
from registry.prefixes.office import Office
from registry.prefixes.own_keys import hold, key_in_use
from registry.prefixes.record_form import from_form
from registry.prefixes.revoking import Revoking
from registry.principal import Operation, Principal
from registry.record import Record
from registry.trust.chain import VerifiedChain, verify_chain
from registry.trust.possession import make_possession
from registry.trust.record_signature import public_jws, restricted_jws, verify_record
from registry.trust.revocation import LastGood, last_good_claim
from registry.trust.root import Anchor, fingerprint, pin, read_root
from registry.trust.statement import read
from registry.value import CERT_INDEX

__all__ = ["Joining"]

_HOME_STATES = {
    "active": HomeState.ACTIVE,
    "suspended": HomeState.SUSPENDED,
    "revoked": HomeState.REVOKED,
}


#: A superior is asked at least this often: what it has to say about roots and revoked keys cannot wait for a renewal.
_REFRESH_SECONDS = 3600


class Joining:
    """Keeps the joined prefixes of this node; talks to nobody itself."""

    def __init__(self, *, office: Office, revoking: Revoking) -> None:
        self._office = office
        self._revoking = revoking
        self._began = office.now()
        self._learned: dict[str, int] = {}

    def anchor(self) -> Anchor | None:
        """Return the trust anchor of this node: its own root, or the one it joined under.

        Raises:
            UntrustedError: the root has expired.
        """
        with self._office.store.read() as unit:
            texts = unit.roots()
        return pin(texts, fingerprint(read_root(texts[0])), now=self._office.now()) if texts else None

    def begin(self, letter: InvitationLetter, prefix: Prefix | None, *, who: str) -> Home:
        """Make a key for the prefix somebody was invited to; repeating it keeps the key.

        Raises:
            ForbiddenError: the invitation has expired or is for another prefix.
            InvalidValueError: the invitation leaves the prefix open, and none is proposed.
            MalformedIdentifierError: the prefix is not directly below the inviting one.
            UntrustedError: this node trusts another anchor already.
            ExistsError: this node homes the prefix already.
        """
        office = self._office
        wanted = _wanted(letter, prefix, office.now())
        self._check_anchor(letter)
        known = office.homes.home(wanted)
        if known is not None and not _may_ask_again(known, letter):
            raise ExistsError("registry.prefixes.homed_already", field="prefix", prefix=wanted.key)
        kid = (
            known.kid if known is not None and known.state is HomeState.PENDING else office.keys.create().kid
        )
        home = Home(
            prefix=wanted,
            origin=Origin.JOINED,
            state=HomeState.PENDING,
            kid=kid,
            superior=Superior(
                urls=letter.urls,
                anchor=letter.anchor,
                parent=letter.parent,
                tls_sha256=letter.tls_sha256,
                purpose=letter.purpose,
            ),
        )
        with office.store.write() as unit:
            unit.put_home(home)
            office.note(unit, wanted, who, "join begun", {"parent": letter.parent.key, "kid": kid})
        office.homes.refresh()
        return home

    def application(
        self, home: Home, *, secret: str, nonce: str, endpoints: Mapping[str, Any], who: Contact
    ) -> Application:
        """Return the request to send, with possession of the key proven over the superior's nonce."""
        office = self._office
        superior = _superior(home)
        signer = office.keys.load(home.kid)
        return Application(
            secret=secret,
            jwk={**signer.jwk, "alg": signer.alg},
            possession=make_possession(
                signer,
                audience=superior.parent.handle.text,
                subject=home.prefix.handle.text,
                nonce=nonce,
                iat=office.now(),
            ),
            prefix=home.prefix.key,
            endpoints=endpoints,
            who=who,
        )

    def learn(self, prefix: Prefix, standing: Standing) -> Home:
        """Take in what the superior says about one's prefix, after verifying it.

        Raises:
            UntrustedError: root, chain, key or record does not hold; nothing was changed.
            NotResponsibleError: this node never asked for the prefix.
        """
        office = self._office
        with office.store.read() as unit:
            home = office.homed(unit, prefix)
            texts = unit.roots()
        superior = _superior(home)
        if standing.state in (RequestState.PENDING.value, RequestState.REFUSED.value):
            return self._note_waiting(home, standing)
        anchor = pin(_longer(texts, standing.roots), superior.anchor, now=office.now())
        self._keep_roots(home, standing.roots[len(texts) :])
        chain = verify_chain(standing.chain, anchor=anchor, now=office.now(), marks=office.marks)
        kid = key_in_use(chain, home, superior.parent, keys=office.keys, others=office.homes.all())
        record = self._verified_record(prefix, chain, standing)
        self._revoking.learn(chain, standing.revocations, standing.histories)
        office.records.put_copy(record)
        changed = replace(
            home,
            state=_kept_state(home, _HOME_STATES[chain.leaf.state]),
            kid=kid,
            # after a restore also the key that was asked for may be an older one
            next_kid=home.next_kid if kid == home.kid else None,
            chain=chain.tokens,
            superior=replace(superior, ticket=None),
            reason=standing.remark,
        )
        self._keep(home, changed)
        self._learned[prefix.key] = office.now()
        office.settle()
        return changed

    def hold(self, prefix: Prefix, reason: HazlinkError) -> None:
        """Sign nothing more for a prefix until its superior names a key that is here.

        Raises:
            NotResponsibleError: the prefix is not homed here.
        """
        hold(self._office, prefix, reason)

    def amendment(
        self,
        prefix: Prefix,
        *,
        nonce: str,
        endpoints: Mapping[str, Any] | None = None,
        rotate: bool = False,
        compromised: bool = False,
        last_good: Callable[[], Mapping[str, LastGood]] | None = None,
    ) -> str:
        """Return an amendment to send: renewal, and whatever else is asked for.

        A rotation makes the next key first and remembers it, so that an answer lost on the way, or a crash, is
        followed by the same request for the same key.

        Args:
            prefix: whose delegation.
            nonce: fresh from the superior.
            endpoints: where the prefix is served from now on.
            rotate: ask for a new key.
            compromised: the key in use was stolen.
            last_good: returns stream → last position the key in use signed; asked after the next key is remembered,
                so that whoever seals can see it and hold back, when the key is rotated in peace. What it signs
                behind that will not count.

        Raises:
            NotResponsibleError: the prefix is not homed here.
            NotSupportedError: its superior is this same node.
            ConflictError: it is not delegated yet.
        """
        office = self._office
        with office.store.read() as unit:
            home = office.homed(unit, prefix)
        superior = _superior(home)
        if not home.chain:
            raise ConflictError("registry.prefixes.waiting", field="prefix", prefix=prefix.key)
        changes: dict[str, object] = {}
        if endpoints is not None:
            changes["endpoints"] = dict(endpoints)
        if rotate or home.next_kid:
            home = self._with_next_key(home, compromised=compromised)
            new = office.keys.load(home.next_kid or home.kid)
            changes["jwk"] = {**new.jwk, "alg": new.alg}
            changes["possession"] = make_possession(
                new,
                audience=superior.parent.handle.text,
                subject=prefix.handle.text,
                nonce=nonce,
                iat=office.now(),
            )
            changes["compromised"] = home.resign
            signed = last_good() if last_good is not None and not home.resign else {}
            if signed:
                changes["last_good"] = last_good_claim(signed)
        return write_amendment(
            office.keys.load(home.kid),
            prefix=prefix,
            parent=superior.parent,
            nonce=nonce,
            now=office.now(),
            changes=changes,
        )

    def due(self) -> list[Home]:
        """Return the joined prefixes to ask about now: waiting, rotating, near their end, or long silent."""
        office = self._office
        return [home for home in office.homes.all() if home.origin is Origin.JOINED and self._is_due(home)]

    def require_admin(self, principal: Principal, prefix: Prefix) -> None:
        """Let only the prefix's own administrators change it.

        Raises:
            ForbiddenError: the principal is none.
        """
        principal.require(Operation.ACCOUNT_MANAGE, prefix)

    def _is_due(self, home: Home) -> bool:
        if home.state in (HomeState.REFUSED, HomeState.REVOKED, HomeState.CLOSED):
            return False
        if home.state is not HomeState.ACTIVE or home.next_kid or not home.chain:
            return True
        now = self._office.now()
        if now - self._learned.get(home.prefix.key, self._began) >= _REFRESH_SECONDS:
            return True
        # The parent's statements are part of the chain: whichever ends first decides.
        lives = [(statement.exp - now, statement.exp - statement.iat) for statement in map(read, home.chain)]
        return any(left < life * self._office.terms.renew_below for left, life in lives)

    def _check_anchor(self, letter: InvitationLetter) -> None:
        anchor = self.anchor()
        if anchor is not None and anchor.fingerprint != letter.anchor:
            raise UntrustedError(
                "registry.prefixes.other_anchor",
                field="invitation",
                value=letter.anchor,
                right=anchor.fingerprint,
            )

    def _note_waiting(self, home: Home, standing: Standing) -> Home:
        refused = standing.state == RequestState.REFUSED.value
        state = HomeState.REFUSED if refused else home.state
        said = f"{standing.reason_zh} / {standing.reason_en} {standing.remark}".strip() if refused else ""
        superior = replace(_superior(home), ticket=None if refused else standing.ticket)
        changed = replace(home, state=state, superior=superior, reason=said)
        if changed != home:
            with self._office.store.write() as unit:
                unit.put_home(changed)
                by = superior.parent.handle.text
                self._office.note(unit, home.prefix, by, f"request {standing.state}", {"reason": said})
            self._office.homes.refresh()
        return changed

    def _verified_record(self, prefix: Prefix, chain: VerifiedChain, standing: Standing) -> Record:
        """Return the superior's record of the prefix, found to carry the statement we were given."""
        if standing.record is None:
            raise UntrustedError("registry.prefixes.record_missing", field="record", prefix=prefix.key)
        record = from_form(standing.record, field="record")
        above = verify_chain(chain.tokens[1:], anchor=chain.anchor, now=self._office.now())
        statement = record.value(CERT_INDEX)
        if record.identifier.key != prefix.handle.key or record.signature is None or statement is None:
            raise UntrustedError("registry.prefixes.record_missing", field="record", prefix=prefix.key)
        claims = verify_record(
            public_jws=public_jws(record),
            restricted_jws=restricted_jws(record),
            shown=record.values,
            chain=above,
            identifier=record.identifier,
            now=self._office.now(),
        )
        claims.require_match(record)
        if statement.text != chain.leaf.token:
            raise UntrustedError("registry.prefixes.record_other", field="record", prefix=prefix.key)
        return record

    def _with_next_key(self, home: Home, *, compromised: bool) -> Home:
        office = self._office
        if home.next_kid and not compromised:
            return home
        leaf = read(home.chain[0])
        next_kid = home.next_kid or office.keys.create(best_algorithm(leaf.algs, leaf.keys[0].alg)).kid
        changed = replace(home, next_kid=next_kid, resign=home.resign or compromised)
        with office.store.write() as unit:
            unit.put_home(changed)
            office.note(unit, home.prefix, home.prefix.key, "rotation begun", {"kid": next_kid})
        office.homes.refresh()
        return changed

    def _keep_roots(self, home: Home, new_roots: Sequence[str]) -> None:
        """Store new versions of the root before anything hangs on them."""
        if not new_roots:
            return
        office = self._office
        with office.store.write() as unit:
            known = len(unit.roots())
            for root in map(read_root, new_roots):
                if root.ver > known:
                    unit.add_root(root.ver, root.text)
            if known:
                by, newest = _superior(home).parent.handle.text, read_root(new_roots[-1]).ver
                office.note(unit, home.prefix, by, "root learned", {"version": newest})

    def _keep(self, home: Home, changed: Home) -> None:
        if changed == home:
            return
        with self._office.store.write() as unit:
            unit.put_home(changed)
            detail = {
                "state": changed.state.value,
                "version": read(changed.chain[0]).ver,
                "kid": changed.kid,
            }
            self._office.note(unit, home.prefix, _superior(home).parent.handle.text, "learned", detail)


def _longer(stored: Sequence[str], received: Sequence[str]) -> Sequence[str]:
    """Return the longer of two lists of roots, whose common part must be the same."""
    shared = min(len(stored), len(received))
    if list(stored[:shared]) != list(received[:shared]):
        raise UntrustedError("registry.prefixes.other_roots", field="roots")
    return received if len(received) > len(stored) else stored


def _kept_state(home: Home, said: HomeState) -> HomeState:
    """A prefix we are closing stays closing while its superior calls it active."""
    if said is HomeState.ACTIVE and home.state is HomeState.CLOSING:
        return home.state
    return said


def _superior(home: Home) -> Superior:
    if home.superior is None:
        raise NotSupportedError("registry.prefixes.own_superior", field="prefix", prefix=home.prefix.key)
    return home.superior


def _may_ask_again(home: Home, letter: InvitationLetter) -> bool:
    """A request that waits or was refused may be made again; a prefix whose key was revoked may get another one."""
    again = home.state in (HomeState.PENDING, HomeState.REFUSED)
    return home.origin is Origin.JOINED and (again or letter.purpose is Purpose.REKEY)


def _wanted(letter: InvitationLetter, prefix: Prefix | None, now: int) -> Prefix:
    if now > letter.expires:
        raise ForbiddenError(
            "registry.prefixes.invitation_expired", field="invitation", expires=as_date(letter.expires)
        )
    wanted = prefix or letter.prefix
    if wanted is None:
        raise InvalidValueError("registry.prefixes.prefix_needed", field="prefix", parent=letter.parent.key)
    if letter.prefix is not None and wanted != letter.prefix:
        raise ForbiddenError(
            "registry.prefixes.prefix_other", field="prefix", prefix=wanted.key, invited=letter.prefix.key
        )
    if wanted.parent != letter.parent:
        raise MalformedIdentifierError(
            "registry.prefixes.prefix_outside", field="prefix", value=wanted.key, parent=letter.parent.key
        )
    return wanted
