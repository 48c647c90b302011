"""Prefixes whose delegation is made on this node itself: the top one under its own root, and hosted ones.

A hosted enterprise has a key of its own, made here and kept beside the others; its parent on this node signs the
statement. What a crash can leave behind is a key nobody refers to: keys are made before the tables name them.
"""

from contextlib import suppress
from dataclasses import replace

from registry.delegation import Contact, Delegation, DelegationState, Home, HomeState, Origin
from registry.errors import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    MalformedIdentifierError,
    NotResponsibleError,
    NotSupportedError,
    UnavailableError,
)
from registry.identifier import Prefix
from registry.prefixes.delegating import Delegating
from registry.prefixes.issuing import ROOT, Grant, best_algorithm
from registry.prefixes.office import Office
from registry.principal import Operation, Principal
from registry.storage.prefixes import PrefixUnit
from registry.trust.root import make_root
from registry.trust.statement import Endpoints, read

__all__ = ["Hosting"]

_LOCAL = frozenset({Origin.TOP, Origin.HOSTED})
#: What a new root allows to everybody below it.
_ALGS = ("Ed25519", "ES256")


class Hosting:
    """Makes and keeps up the prefixes that need no other node."""

    def __init__(self, *, office: Office, delegating: Delegating) -> None:
        self._office = office
        self._delegating = delegating

    def init_root(self, prefix: Prefix, *, endpoints: Endpoints, who: str, alg: str = "Ed25519") -> Home:
        """Make a root document and the top prefix under it; done once, repeating it changes nothing.

        Raises:
            ExistsError: this node has a root already, with another top prefix.
            MalformedIdentifierError: a top prefix has one label.
        """
        office = self._office
        if prefix.parent is not None or prefix.key == "0":
            raise MalformedIdentifierError("registry.prefixes.top_label", field="prefix", value=prefix.key)
        with office.store.read() as unit:
            home, roots = unit.home(prefix), unit.roots()
        if home is not None and home.origin is Origin.TOP:
            office.settle()
            return home
        if home is not None or roots:
            raise ExistsError("registry.prefixes.root_exists", field="prefix", prefix=prefix.key)
        root_key, key = office.keys.create(alg), office.keys.create(alg)
        now = office.now()
        text = make_root([root_key], 1, algs=_ALGS, iat=now, exp=now + office.terms.root_seconds)
        home = Home(prefix=prefix, origin=Origin.TOP, state=HomeState.ACTIVE, kid=key.kid)
        with office.store.write() as unit:
            unit.add_root(1, text)
            unit.put_home(home)
            grant = Grant(keys=(office.issuer.key(key),), endpoints=endpoints)
            office.issuer.issue(unit, prefix, ROOT, grant)
            office.note(unit, prefix, who, "root made", {"kid": key.kid, "root": root_key.kid})
        office.settle()
        return home

    def host(self, principal: Principal, prefix: Prefix, *, who: Contact) -> Home:
        """Home a small enterprise here: its own key, a statement by its parent on this node.

        Raises:
            ForbiddenError: the principal is no operator of the parent.
            NotResponsibleError: the parent is not homed here.
            ExistsError: the prefix is homed, delegated or asked for already.
        """
        office = self._office
        parent = prefix.parent
        if parent is None:
            raise MalformedIdentifierError("registry.prefixes.not_top", field="prefix", value=prefix.key)
        principal.require(Operation.PREFIX_DELEGATE, parent)
        office.homes.signer_for(parent)
        key = office.keys.create(best_algorithm(read(office.homes.chain(parent)[0]).algs))
        home = Home(prefix=prefix, origin=Origin.HOSTED, state=HomeState.ACTIVE, kid=key.kid)
        with office.store.write() as unit:
            if unit.home(prefix) or unit.delegation(prefix) or unit.pending_request(prefix):
                raise ExistsError("registry.prefixes.not_free_join", field="prefix", prefix=prefix.key)
            where = read(office.homes.chain(parent)[0]).endpoints
            unit.put_home(home)
            grant = Grant(keys=(office.issuer.key(key),), endpoints=where, who=who)
            office.issuer.issue(unit, prefix, parent, grant)
            office.note(unit, prefix, principal.name, "hosted", {"kid": key.kid, "name": who.name})
        office.settle()
        return home

    def rotate_key(self, principal: Principal, prefix: Prefix, *, compromised: bool = False) -> Home:
        """Give a top or hosted prefix a new key; a compromised one is dropped and its records signed again.

        Raises:
            ForbiddenError: the principal does not administer the prefix.
            NotResponsibleError: it is not homed here.
            NotSupportedError: its superior is another node, which must be asked.
            ConflictError: it is not active.
        """
        office = self._office
        principal.require(Operation.ACCOUNT_MANAGE, prefix)
        with office.store.read() as unit:
            self._local(unit, prefix)
            statement = read(office.delegated(unit, prefix).token)
        key = office.keys.create(best_algorithm(statement.algs, statement.keys[0].alg))
        with office.store.write() as unit:
            home = self._local(unit, prefix)
            self._delegating.amend_local(unit, principal.name, prefix, key=key, compromised=compromised)
            changed = replace(home, kid=key.kid, resign=home.resign or compromised)
            unit.put_home(changed)
            office.note(unit, prefix, principal.name, "key rotated", {"compromised": compromised})
        self.upkeep()
        return changed

    def change_endpoints(self, principal: Principal, prefix: Prefix, endpoints: Endpoints) -> Delegation:
        """Change where the top prefix is served; the prefixes hosted below it move along.

        Raises:
            ForbiddenError: the principal does not administer the prefix.
            NotResponsibleError: it is not homed here.
            NotSupportedError: its superior is another node, which must be asked; or it is hosted, and is served
                where its host is.
            ConflictError: it is not active.
        """
        principal.require(Operation.ACCOUNT_MANAGE, prefix)
        with self._office.store.write() as unit:
            if self._local(unit, prefix).origin is Origin.HOSTED:
                raise NotSupportedError("registry.prefixes.follows_host", field="prefix", prefix=prefix.key)
            changed = self._delegating.amend_local(unit, principal.name, prefix, endpoints=endpoints)
        self.upkeep()
        return changed

    def upkeep(self) -> int:
        """Bring everything into step; safe to repeat, and what a restart does first.

        In this order, parents before children: statements whose signing key was dropped above are signed again,
        hosted prefixes follow their parent's endpoints, statements with little life left are renewed, records of a
        compromised key are signed again, lists that are missing or old are signed, and what is not published is
        published.

        Returns:
            how many statements were issued.
        """
        office = self._office
        office.homes.refresh()
        issued = 0
        for made in sorted(office.homes.delegations(), key=lambda made: len(made.prefix.labels)):
            issued += self._keep(made)
        self._keep_lists()
        for home in office.homes.all():
            if home.resign and home.state is HomeState.ACTIVE:
                office.records.resign(home.prefix)
                with office.store.write() as unit:
                    unit.put_home(replace(office.homed(unit, home.prefix), resign=False))
        office.settle()
        return issued

    def _keep(self, made: Delegation) -> int:
        """Issue a new statement if this one is out of step; the decision needs no lock, a change does."""
        office = self._office
        home = office.homes.home(made.prefix)
        local = home is not None and home.origin in _LOCAL and home.state is not HomeState.CLOSED
        statement = read(made.token)
        moved, orphan = None, False
        if made.parent != ROOT:
            parent = office.homes.home(made.parent)
            if parent is None or parent.state is not HomeState.ACTIVE:
                return 0
            above = read(office.homes.chain(made.parent)[0])
            orphan = above.key(statement.kid) is None
            moved = above.endpoints if local and above.endpoints != statement.endpoints else None
        due = local and made.state is DelegationState.ACTIVE and self._is_worth_renewing(made)
        if not (orphan or moved or due):
            return 0
        with office.store.write() as unit:
            by = f"300:{made.parent.handle.text}"
            self._delegating.amend_local(unit, by, made.prefix, endpoints=moved)
        office.homes.refresh()
        return 1

    def _keep_lists(self) -> None:
        """Sign the lists of each parent that need it; a parent that cannot sign now is passed over."""
        office = self._office
        below: dict[Prefix, list[Delegation]] = {}
        for made in office.homes.delegations():
            below.setdefault(made.parent, []).append(made)
        for parent, children in below.items():
            with suppress(NotResponsibleError, ForbiddenError, UnavailableError):
                with office.store.read() as unit:
                    due = office.issuer.lists_due(unit, parent, len(children))
                if due:
                    with office.store.write() as unit:
                        office.issuer.keep_lists(unit, parent, children)

    def _is_worth_renewing(self, made: Delegation) -> bool:
        office = self._office
        if not self._delegating.is_due(made):
            return False
        with office.store.read() as unit:
            return office.issuer.greatest_expiry(unit, made.parent) > made.expires

    def _local(self, unit: PrefixUnit, prefix: Prefix) -> Home:
        home = self._office.homed(unit, prefix)
        if home.origin not in _LOCAL:
            raise NotSupportedError("registry.prefixes.ask_superior", field="prefix", prefix=prefix.key)
        if home.state is not HomeState.ACTIVE:
            raise ConflictError(
                f"registry.prefixes.home_{home.state.value}", field="prefix", prefix=prefix.key
            )
        return home
