"""The root of this node, and the ceremony in which it gets its next version.

A version is proposed here, signed wherever the keys are, and published here: stored before it is used, together with
a statement about the top prefix that holds under it. Lower tiers learn it from their superior within the hour and
check it against the version they have; nobody has to trust anybody new.

A key leaves the root in two steps, because the statements that lower tiers carry are signed by it: first a version
that has the new key beside the old one, under which the top prefix is signed by the new key; and, when every tier
has learned it, a version without the old key.
"""

from collections.abc import Sequence

from registry.delegation import Delegation, Home, Origin
from registry.errors import (
    ConflictError,
    InvalidValueError,
    NotFoundError,
    NotResponsibleError,
    UntrustedError,
)
from registry.prefixes.delegating import Delegating
from registry.prefixes.issuing import ROOT, Grant
from registry.prefixes.office import Office
from registry.principal import Operation, Principal
from registry.storage.prefixes import PrefixUnit
from registry.trust.algorithms import PublicKey
from registry.trust.ceremony import Ceremony
from registry.trust.chain import extend
from registry.trust.refusal import as_kind
from registry.trust.root import Anchor, RootDocument, draft_root, fingerprint, pin, read_draft, read_root
from registry.trust.statement import read

__all__ = ["Rooting"]


class Rooting:
    """Proposes, signs and publishes versions of the root of this node."""

    def __init__(self, *, office: Office, delegating: Delegating) -> None:
        self._office = office
        self._delegating = delegating

    def roots(self) -> list[RootDocument]:
        """Return every version of the root that this node trusts, its own or the one it joined under."""
        with self._office.store.read() as unit:
            return [read_root(text) for text in unit.roots()]

    def propose(
        self,
        principal: Principal,
        *,
        add: Sequence[PublicKey] = (),
        remove: Sequence[str] = (),
        threshold: int | None = None,
        algs: Sequence[str] | None = None,
        seconds: int | None = None,
    ) -> Ceremony:
        """Propose the next version.

        Args:
            principal: who asks.
            add: keys that join; they come first, and sign for the top prefix from then on.
            remove: thumbprints of keys that leave.
            threshold: how many must sign from then on; None keeps it.
            algs: algorithms allowed below; None keeps them.
            seconds: life of the version; None: as configured.

        Raises:
            NotResponsibleError: this node has no root of its own.
            ForbiddenError: the principal does not administer the top prefix.
            NotFoundError: a key that shall leave is not there.
            InvalidValueError: the proposal breaks a rule of root documents, or changes nothing.
        """
        office = self._office
        with office.store.read() as unit:
            home, made = self._top(unit, principal)
            root = read_root(unit.roots()[-1])
            for kid in remove:
                if kid not in root.keys:
                    raise NotFoundError("registry.prefixes.root_key_unknown", field="remove", kid=kid)
            kept = [key for kid, key in root.keys.items() if kid not in remove]
            fresh = [key for key in add if key.kid not in root.keys]
            now = office.now()
            payload = draft_root(
                [*fresh, *kept],
                root.threshold if threshold is None else threshold,
                algs=root.algs if algs is None else algs,
                iat=now,
                exp=now + (office.terms.root_seconds if seconds is None else seconds),
                ver=root.ver + 1,
            )
            try:
                successor = read_draft(payload)
            except UntrustedError as error:
                raise as_kind(error, InvalidValueError) from error
            statement = read(made.token)
            grant = Grant(keys=statement.keys, endpoints=statement.endpoints)
            top = office.issuer.draft_top(unit, successor, home.prefix, grant)
        return Ceremony(root=root, payload=payload, top=top)

    def sign(self, ceremony: Ceremony) -> Ceremony:
        """Return the ceremony with the signatures of all keys of it that this node keeps.

        Raises:
            UnavailableError: a key is there and cannot be unlocked.
        """
        signed = {*ceremony.progress().old, *ceremony.progress().new}
        for kid in {**ceremony.successor.keys, **ceremony.root.keys}:
            if kid not in signed and kid in self._office.keys.kids():
                ceremony = ceremony.signed(self._office.keys.load(kid))
        return ceremony

    def publish(self, principal: Principal, ceremony: Ceremony) -> Anchor:
        """Make the next version the one in force; doing it twice does it once.

        Raises:
            NotResponsibleError: this node has no root of its own.
            ForbiddenError: the principal does not administer the top prefix.
            InvalidValueError: a signature is missing.
            ConflictError: the root or the top prefix changed since the proposal; propose again.
            UntrustedError: it does not follow the version in force, or has expired.
        """
        office = self._office
        text = ceremony.document()
        with office.store.write() as unit:
            _, made = self._top(unit, principal)
            texts = unit.roots()
            if read_root(texts[-1]).payload == ceremony.payload:
                return pin(texts, fingerprint(read_root(texts[0])), now=office.now())
            if ceremony.root.payload != read_root(texts[-1]).payload:
                raise ConflictError("registry.prefixes.root_moved", field="root", ver=ceremony.root.ver)
            anchor = pin([*texts, text], fingerprint(read_root(texts[0])), now=office.now())
            unit.add_root(anchor.root.ver, text)
            changed = self._under(unit, principal.name, made, anchor, ceremony)
            detail = {
                "version": anchor.root.ver,
                "threshold": anchor.root.threshold,
                "keys": list(anchor.root.keys),
                "statement": changed.version,
            }
            office.note(unit, made.prefix, principal.name, "root published", detail)
        office.settle()
        return anchor

    def _under(
        self, unit: PrefixUnit, who: str, made: Delegation, anchor: Anchor, ceremony: Ceremony
    ) -> Delegation:
        """Give the top prefix a statement under the new root: by a key kept here, else the one in the file."""
        office = self._office
        held = set(office.keys.kids())
        if held.intersection(anchor.root.keys):
            changed = self._delegating.amend_local(unit, who, made.prefix)
        elif ceremony.statement is not None:
            statement, now = read(ceremony.statement), read(made.token)
            same = (statement.subject, statement.keys, statement.endpoints)
            if statement.ver != made.version + 1 or same != (now.subject, now.keys, now.endpoints):
                raise ConflictError("registry.prefixes.root_moved", field="statement", ver=ceremony.root.ver)
            changed = office.issuer.store(unit, ROOT, ceremony.statement)
        else:
            changed = made
        extend(anchor, changed.token, now=office.now())
        return changed

    def _top(self, unit: PrefixUnit, principal: Principal) -> tuple[Home, Delegation]:
        home = next((home for home in unit.homes() if home.origin is Origin.TOP), None)
        if home is None:
            principal.require(Operation.ACCOUNT_MANAGE)
            raise NotResponsibleError("registry.prefixes.no_root", field="root", prefix=ROOT.key)
        principal.require(Operation.ACCOUNT_MANAGE, home.prefix)
        return home, self._office.delegated(unit, home.prefix)
