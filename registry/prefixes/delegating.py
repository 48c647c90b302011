"""What becomes of a delegation after it was made: suspended, resumed, revoked, renewed, moved, given a new key.

Each change is a new statement with a higher version. The holder asks for a change with an *amendment*, a JWS by the
key it holds now over this superior and a fresh nonce; a new key proves its own possession with the same nonce. The
operator's changes need nobody's key but the superior's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from registry.delegation import Delegation, DelegationState, HomeState, Origin
from registry.errors import (
    ConflictError,
    InvalidValueError,
    MalformedError,
    NotFoundError,
    UnauthenticatedError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.endpoints import read_endpoints, to_endpoints
from registry.prefixes.issuing import ROOT, Grant, retired
from registry.prefixes.joindesk import JoinDesk, Standing
from registry.prefixes.office import Office
from registry.principal import Operation, Principal
from registry.storage.prefixes import PrefixUnit
from registry.trust import jws
from registry.trust.algorithms import PublicKey, admit
from registry.trust.claims import Claims
from registry.trust.keys import Signer
from registry.trust.possession import verify_possession
from registry.trust.refusal import as_unauthenticated
from registry.trust.revocation import LastGood, Reason, Revoked, last_good_of
from registry.trust.statement import ISSUER_INDEX, Endpoints, Statement, StatementKey, read

__all__ = ["AMENDMENT_TYPE", "Delegating", "write_amendment"]

AMENDMENT_TYPE = "hz-amendment+jws"
_MAX_BYTES = 16_384
_LEEWAY_SECONDS = 600
_HOME_STATES = {
    DelegationState.ACTIVE: HomeState.ACTIVE,
    DelegationState.SUSPENDED: HomeState.SUSPENDED,
    DelegationState.REVOKED: HomeState.REVOKED,
}


@dataclass(frozen=True, slots=True)
class _Amendment:
    prefix: Prefix
    made: Delegation
    statement: Statement
    signed_by: StatementKey
    claims: Mapping[str, Any]


class Delegating:
    """Changes delegations made here."""

    def __init__(self, *, office: Office, desk: JoinDesk, allow_loopback: bool) -> None:
        self._office = office
        self._desk = desk
        self._allow_loopback = allow_loopback

    def suspend(self, principal: Principal, prefix: Prefix, *, reason: str) -> Delegation:
        """Take every right from a prefix until further notice.

        Raises:
            NotFoundError: it was not delegated here.
            ForbiddenError: the principal is no operator of the parent.
            ConflictError: it is not active.
        """
        return self._decide(principal, prefix, DelegationState.SUSPENDED, reason)

    def resume(self, principal: Principal, prefix: Prefix, *, reason: str = "") -> Delegation:
        """Give a suspended prefix its rights back.

        Raises:
            NotFoundError: it was not delegated here.
            ForbiddenError: the principal is no operator of the parent.
            ConflictError: it is not suspended.
        """
        return self._decide(principal, prefix, DelegationState.ACTIVE, reason)

    def revoke(self, principal: Principal, prefix: Prefix, *, reason: str) -> Delegation:
        """Take every right from a prefix for good.

        Raises:
            NotFoundError: it was not delegated here.
            ForbiddenError: the principal is no operator of the parent.
            ConflictError: it is revoked already.
        """
        return self._decide(principal, prefix, DelegationState.REVOKED, reason)

    def drop_key(self, principal: Principal, prefix: Prefix, kid: str) -> Delegation:
        """Take a historical key out of a delegation, and revoke it: what it signed does not verify any longer.

        Raises:
            NotFoundError: the prefix was not delegated here, or has no such key.
            ForbiddenError: the principal is no operator of the parent.
            ConflictError: it is the key in use; rotate first.
        """
        with self._office.store.read() as unit:
            key = read(self._of_operator(unit, principal, prefix).token).key(kid)
        if key is None:
            raise NotFoundError("registry.prefixes.key_unknown", field="kid", value=kid, prefix=prefix.key)
        if key.exp is None:
            raise ConflictError("registry.prefixes.key_in_use", field="kid", value=kid)
        return self.revoke_key(principal, prefix, kid, action="key dropped")

    def revoke_key(
        self,
        principal: Principal,
        prefix: Prefix,
        kid: str,
        *,
        reason: Reason = Reason.COMPROMISE,
        at: int | None = None,
        last_good: Mapping[str, LastGood] | None = None,
        action: str = "key revoked",
    ) -> Delegation:
        """Put a key of a prefix on the revocation list of its parent.

        A stolen key leaves the delegation as well, unless it is the only one in use: then its holder needs a new key
        first, by invitation, because nothing the old one signs is listened to any longer.

        Args:
            principal: who asks.
            prefix: whose key.
            kid: thumbprint; of a key the prefix has or ever had.
            reason: why.
            at: POSIX seconds of the theft, or from which it is no longer used; None is now.
            last_good: stream → last position that the key rightfully signed.
            action: what the trail calls it.

        Raises:
            NotFoundError: the prefix was not delegated here, or never had such a key.
            ForbiddenError: the principal is no operator of the parent.
            InvalidValueError: a moment in the future.
        """
        office = self._office
        now = office.now()
        if at is not None and at > now:
            raise InvalidValueError("registry.prefixes.revoked_future", field="at", value=at, now=now)
        with office.store.write() as unit:
            made = self._of_operator(unit, principal, prefix)
            statement = read(made.token)
            key = statement.key(kid)
            parent = made.parent.key
            ever = any(one.kid == kid for one in unit.trust.keys(prefix, parent))
            if key is None and not ever:
                raise NotFoundError(
                    "registry.prefixes.key_unknown", field="kid", value=kid, prefix=prefix.key
                )
            if key is not None and key.exp is not None and reason is Reason.COMPROMISE:
                keys = tuple(one for one in statement.keys if one.kid != kid)
                made = self._reissue(unit, made, keys=keys)
            entry = Revoked(kid, now if at is None else at, reason, dict(last_good or {}))
            office.issuer.revoke(unit, prefix, made.parent, [entry])
            detail = {"kid": kid, "version": made.version, "reason": reason.value, "at": entry.revoked_at}
            office.note(unit, prefix, principal.name, action, detail)
        office.settle()
        return made

    def amend(self, token: str) -> Standing:
        """Do what the holder of a prefix asks: renew, move, or take a new key. Asking twice does it once.

        A suspended or revoked holder changes nothing and learns how it stands.

        Raises:
            UnauthenticatedError: the amendment is not signed by the holder's key, or its nonce is not fresh.
            NotFoundError: the prefix was not delegated here.
            UntrustedError: the new key is not admitted.
        """
        office = self._office
        with office.store.write() as unit:
            asked = self._read_amendment(unit, token)
            if asked.made.state is DelegationState.ACTIVE:
                self._apply(unit, asked)
        office.settle()
        return self._desk.delegated(asked.prefix)

    def amend_local(
        self,
        unit: PrefixUnit,
        who: str,
        prefix: Prefix,
        *,
        endpoints: Endpoints | None = None,
        key: Signer | None = None,
        compromised: bool = False,
    ) -> Delegation:
        """Change the delegation of a prefix this node homes under its own parent, hosted or top."""
        office = self._office
        made = office.delegated(unit, prefix)
        keys = None
        if key is not None:
            keys = self._with_new_key(read(made.token), office.issuer.key(key), compromised=compromised)
        changed = self._reissue(unit, made, keys=keys, endpoints=endpoints)
        if key is not None and compromised:
            stolen = office.issuer.compromised(read(made.token))
            office.issuer.revoke(unit, prefix, made.parent, stolen)
        office.note(
            unit, prefix, who, "reissued", {"version": changed.version, "kid": key.kid if key else None}
        )
        return changed

    def is_due(self, made: Delegation) -> bool:
        """Say whether so little of a statement's life is left that it should be renewed."""
        statement = read(made.token)
        life = statement.exp - statement.iat
        return statement.exp - self._office.now() < life * self._office.terms.renew_below

    def _decide(
        self, principal: Principal, prefix: Prefix, state: DelegationState, reason: str
    ) -> Delegation:
        office = self._office
        with office.store.write() as unit:
            made = self._of_operator(unit, principal, prefix)
            if made.state is state or made.state is DelegationState.REVOKED:
                raise ConflictError(
                    f"registry.prefixes.is_{made.state.value}", field="prefix", prefix=prefix.key
                )
            changed = self._reissue(unit, made, state=state)
            home = unit.home(prefix)
            if home is not None and home.origin is Origin.HOSTED and home.state is not HomeState.CLOSED:
                unit.put_home(replace(home, state=_HOME_STATES[state], reason=reason))
            detail = {"version": changed.version, "reason": reason}
            office.note(unit, prefix, principal.name, state.value, detail)
        office.settle()
        return changed

    def _of_operator(self, unit: PrefixUnit, principal: Principal, prefix: Prefix) -> Delegation:
        made = unit.delegation(prefix)
        principal.require(Operation.PREFIX_DELEGATE, made.parent if made else None)
        if made is None or made.parent == ROOT:
            raise NotFoundError("registry.prefixes.not_delegated", field="prefix", prefix=prefix.key)
        return made

    def _reissue(
        self,
        unit: PrefixUnit,
        made: Delegation,
        *,
        keys: tuple[StatementKey, ...] | None = None,
        endpoints: Endpoints | None = None,
        state: DelegationState | None = None,
    ) -> Delegation:
        statement = read(made.token)
        grant = Grant(
            keys=statement.keys if keys is None else keys,
            endpoints=statement.endpoints if endpoints is None else endpoints,
            state=made.state if state is None else state,
        )
        return self._office.issuer.issue(unit, made.prefix, made.parent, grant)

    def _with_new_key(
        self, statement: Statement, fresh: StatementKey, *, compromised: bool
    ) -> tuple[StatementKey, ...]:
        office = self._office
        if statement.key(fresh.kid) is not None:
            raise ConflictError("registry.prefixes.key_reused", field="jwk", value=fresh.kid)
        now = office.now()
        # After a theft no key that can still sign is left, also none that was just being rotated out: as long as one
        # is, nobody may forget the versions that the thief may have run up.
        signing = [key.kid for key in statement.keys if key.exp is None or key.exp > now]
        old = retired(
            statement, exp=now + office.terms.overlap_seconds, without=signing if compromised else ()
        )
        return (fresh, *old)[: office.terms.keys_limit]

    def _read_amendment(self, unit: PrefixUnit, token: str) -> _Amendment:
        office = self._office
        with as_unauthenticated():
            parsed = jws.parse(token, typ=AMENDMENT_TYPE, max_bytes=_MAX_BYTES)
            claims = Claims(parsed.claims())
            prefix = claims.reference("iss", ISSUER_INDEX)
            made = unit.delegation(prefix) if prefix else None
            if prefix is None or made is None:
                raise UntrustedError("registry.prefixes.amendment_signer", field="iss")
            statement = read(made.token)
            key = statement.key(parsed.kid)
            if key is None or not key.good_at(office.now()) or _is_revoked(unit, made, parsed.kid):
                raise UntrustedError("registry.prefixes.amendment_signer", field="kid")
            jws.verify(parsed, key.public)
            if claims.prefix("aud") != made.parent:
                raise UntrustedError(
                    "registry.prefixes.amendment_audience", field="aud", right=made.parent.handle.text
                )
            if abs(office.now() - claims.integer("iat")) > _LEEWAY_SECONDS:
                raise UnauthenticatedError(
                    "registry.prefixes.nonce_stale", field="iat", seconds=_LEEWAY_SECONDS
                )
            office.invitations.use_nonce(unit, claims.text("nonce"))
        return _Amendment(prefix, made, statement, key, claims.content)

    def _apply(self, unit: PrefixUnit, asked: _Amendment) -> None:
        office, made, statement = self._office, asked.made, asked.statement
        key = self._asked_key(asked)
        current = statement.keys[0].kid
        if asked.signed_by.exp is not None:
            # The key was rotated out: it may only hear the answer to the rotation it asked for, once more.
            if key is None or key.kid != current:
                raise UnauthenticatedError("registry.prefixes.amendment_signer", field="kid")
            return
        endpoints = self._asked_endpoints(asked)
        keys = None
        if key is not None and key.kid != current:
            compromised = asked.claims.get("compromised") is True
            keys = self._with_new_key(statement, office.issuer.key(key), compromised=compromised)
        renewed = self.is_due(made) and office.issuer.greatest_expiry(unit, made.parent) > made.expires
        if keys is None and endpoints in (None, statement.endpoints) and not renewed:
            return
        changed = self._reissue(unit, made, keys=keys, endpoints=endpoints)
        if keys is not None:
            office.issuer.revoke(unit, asked.prefix, made.parent, self._left_behind(asked))
        detail = {"version": changed.version, "kid": key.kid if key else current, "expires": changed.expires}
        office.note(unit, asked.prefix, f"300:{asked.prefix.handle.text}", "amended", detail)

    def _left_behind(self, asked: _Amendment) -> list[Revoked]:
        """Return what is to be said against the keys that a rotation leaves behind.

        The holder of a key that is rotated in peace says how far it signed; it may still sign for the overlap, but
        behind that position nothing of it counts.
        """
        if asked.claims.get("compromised") is True:
            return self._office.issuer.compromised(asked.statement)
        said = asked.claims.get("last_good")
        if said is None:
            return []
        ends = self._office.now() + self._office.terms.overlap_seconds
        return [Revoked(asked.statement.keys[0].kid, ends, Reason.SUPERSEDED, last_good_of(said))]

    def _asked_key(self, asked: _Amendment) -> PublicKey | None:
        jwk = asked.claims.get("jwk")
        if jwk is None:
            return None
        claims = Claims(asked.claims)
        key = admit(claims.object("jwk"), asked.statement.algs)
        nonce = verify_possession(
            claims.text("possession", most=4096),
            key,
            audience=asked.made.parent.handle.text,
            subject=asked.prefix.handle.text,
            now=self._office.now(),
        )
        if nonce != claims.text("nonce"):
            raise UnauthenticatedError("registry.prefixes.nonce_other", field="possession")
        return key

    def _asked_endpoints(self, asked: _Amendment) -> Endpoints | None:
        form = asked.claims.get("endpoints")
        if form is None:
            return None
        if not isinstance(form, Mapping):
            raise MalformedError("registry.trust.claim_type", field="endpoints", right="object")
        return to_endpoints(read_endpoints(form, allow_loopback=self._allow_loopback))


def _is_revoked(unit: PrefixUnit, made: Delegation, kid: str) -> bool:
    """A stolen key must not ask for another one; the one that was rotated out may ask for its answer again."""
    entry = unit.trust.find_revoked(made.parent.key, kid)
    return entry is not None and entry.reason is not Reason.SUPERSEDED


def write_amendment(
    signer: Signer,
    *,
    prefix: Prefix,
    parent: Prefix,
    nonce: str,
    now: int,
    changes: Mapping[str, object],
) -> str:
    """Sign an amendment.

    Args:
        signer: the key the superior knows.
        prefix: the holder's.
        parent: the superior's; the amendment is good for nobody else.
        nonce: fresh from the superior.
        now: POSIX seconds.
        changes: any of `endpoints`, `jwk` with `possession`, `compromised`, `last_good`; nothing asks for renewal
            alone.
    """
    claims = {
        "iss": f"{ISSUER_INDEX}:{prefix.handle.text}",
        "aud": parent.handle.text,
        "nonce": nonce,
        "iat": now,
        **changes,
    }
    return jws.sign(signer, AMENDMENT_TYPE, orjson.dumps(claims))
