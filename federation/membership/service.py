"""Membership: the conversation of this node with its superiors.

Each step can be repeated: joining again with the same invitation keeps the key and finds the same request; asking
again for a rotation asks for the same key. So a reply lost on the way, or a process killed between two steps, costs
nothing but another try.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from federation.membership.ports import Lanes, SuperiorNode, Superiors
from registry.clock import Clock
from registry.delegation import Contact, Home, HomeState
from registry.errors import (
    HazlinkError,
    NotResponsibleError,
    NotSupportedError,
    UnauthenticatedError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.prefixes.invitations import InvitationLetter
from registry.prefixes.joindesk import Standing
from registry.prefixes.own_keys import KEY_FOREIGN
from registry.prefixes.service import Prefixes
from registry.principal import Principal
from registry.trust.statement import Endpoints, read
from resolver.pool import in_pool
from resolver.ports import Endpoint

__all__ = ["Membership"]

_GROWTH = 1.5
_PENDING_PAUSE = 60.0
_GREATEST_PAUSE = 600.0
#: States in which nothing is asked of a superior any more.
_OVER = frozenset({HomeState.REFUSED, HomeState.REVOKED, HomeState.CLOSED})


@dataclass(frozen=True, slots=True)
class _Patience:
    """When to ask again about a prefix that stays due."""

    at: float
    pause: float


class Membership:
    """Joins superiors and keeps what was joined.

    Args:
        prefixes: the prefixes of this node.
        superiors: the way to other nodes.
        clock: the time.
        executor: bounded pool for blocking calls.
        lanes: what this node signed on its streams; None: it has none.
    """

    def __init__(
        self,
        *,
        prefixes: Prefixes,
        superiors: Superiors,
        clock: Clock,
        executor: Executor,
        lanes: Lanes | None = None,
    ) -> None:
        self._lanes = lanes
        self._prefixes = prefixes
        self._superiors = superiors
        self._clock = clock
        self._executor = executor

    async def join(
        self,
        invitation: str,
        *,
        prefix: Prefix | None = None,
        endpoints: Mapping[str, Any],
        who: Contact,
        by: str,
    ) -> Home:
        """Ask for a prefix with an invitation.

        Args:
            invitation: the line that begins with `hzi1.`.
            prefix: the prefix wanted, when the invitation leaves it open.
            endpoints: where this node answers: `{"resolve": ["https://…"], "tls_x5t_s256": …}`.
            who: name and contact shown to the operator who decides.
            by: who at this node asks, for the trail.

        Returns:
            the home: pending until the superior's operator decides.

        Raises:
            MalformedError: the invitation is unreadable.
            UntrustedError: it names another anchor than this node trusts, or what the superior answers does not hold.
            HazlinkError: the superior's refusal, or it cannot be reached.
        """
        letter = InvitationLetter.from_text(invitation)
        joining = self._prefixes.joining
        home = await in_pool(self._executor, joining.begin, letter, prefix, who=by)
        superior = self._superiors.at([Endpoint(url, letter.tls_sha256) for url in letter.urls])
        nonce = await superior.challenge()
        application = await in_pool(
            self._executor,
            joining.application,
            home,
            secret=letter.secret,
            nonce=nonce,
            endpoints=endpoints,
            who=who,
        )
        return await self._learn(home.prefix, await superior.join(application))

    async def poll(self, prefix: Prefix) -> Home:
        """Ask how the request for a prefix stands, and take in what was decided.

        Raises:
            NotResponsibleError: this node did not ask for the prefix.
            UntrustedError: what the superior answers does not hold; nothing was changed.
            HazlinkError: the superior's refusal, or it cannot be reached.
        """
        home = self._home(prefix)
        ticket = home.superior.ticket if home.superior else None
        if ticket is None and home.state is HomeState.REFUSED:
            return home
        if ticket is None:
            try:
                return await self.renew(prefix)
            except (UnauthenticatedError, UntrustedError):
                # the superior does not know our key any more: what it publishes says which one it names
                return await self.look(prefix)
        return await self._learn(prefix, await self._superior(home).standing(ticket))

    async def renew(
        self,
        prefix: Prefix,
        *,
        endpoints: Mapping[str, Any] | None = None,
        rotate: bool = False,
        compromised: bool = False,
    ) -> Home:
        """Renew the delegation of a joined prefix; change its endpoints or its key on the same way.

        A key that is rotated in peace leaves with the positions it signed last, so that what is on its way counts and
        nothing can be dated back. From the moment the next key is remembered until the superior answered, no envelope
        of the prefix is sealed: what would be, waits.

        Raises:
            NotResponsibleError: the prefix is not homed here.
            NotSupportedError: its superior is this same node.
            ConflictError: it is not delegated yet.
            UntrustedError: what the superior answers does not hold; nothing was changed.
            HazlinkError: the superior's refusal, or it cannot be reached.
        """
        home = self._home(prefix)
        superior = self._superior(home)
        nonce = await superior.challenge()
        amendment = await in_pool(
            self._executor,
            self._prefixes.joining.amendment,
            prefix,
            nonce=nonce,
            endpoints=endpoints,
            rotate=rotate or compromised,
            compromised=compromised,
            last_good=partial(self._lanes.last_signed, prefix) if self._lanes is not None else None,
        )
        learned = await self._learn(prefix, await superior.renew(amendment))
        await in_pool(self._executor, self._prefixes.upkeep)
        return learned

    async def look(self, prefix: Prefix) -> Home:
        """Take in the newest delegation of a joined prefix as its superior publishes it; nothing is signed for that.

        Where it names a key that is not here, as after a restore from a backup older than a rotation, nothing more is
        signed for the prefix until it is.

        Raises:
            NotResponsibleError: the prefix is not homed here.
            NotSupportedError: its superior is this same node.
            UntrustedError: what the superior answers does not hold, or the key is not here.
            HazlinkError: the superior's refusal, or it cannot be reached.
        """
        superior = self._superior(self._home(prefix))
        try:
            return await self._learn(prefix, await superior.delegation(prefix))
        except UntrustedError as error:
            if error.code == KEY_FOREIGN:
                await in_pool(self._executor, self._prefixes.joining.hold, prefix, error)
            raise

    async def confirm(self) -> None:
        """Make sure that this node has the keys its superiors name for it; each of them is asked.

        Raises:
            HazlinkError: as `look`; every other prefix was looked at all the same.
        """
        failure: HazlinkError | None = None
        for home in self._prefixes.homes.all():
            if home.superior is None or not home.chain or home.state in _OVER:
                continue
            try:
                await self.look(home.prefix)
            except HazlinkError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    async def rotate_key(self, principal: Principal, prefix: Prefix, *, compromised: bool = False) -> Home:
        """Give a prefix a new key, wherever its delegation comes from.

        Raises:
            ForbiddenError: the principal does not administer the prefix.
            HazlinkError: as `renew` and `Prefixes.rotate_key`.
        """
        self._prefixes.joining.require_admin(principal, prefix)
        if self._home(prefix).superior is not None:
            return await self.renew(prefix, rotate=True, compromised=compromised)
        return await in_pool(
            self._executor, self._prefixes.rotate_key, principal, prefix, compromised=compromised
        )

    async def change_endpoints(
        self, principal: Principal, prefix: Prefix, endpoints: Mapping[str, Any]
    ) -> Home:
        """Change where a prefix is served, wherever its delegation comes from.

        Raises:
            ForbiddenError: the principal does not administer the prefix.
            HazlinkError: as `renew` and `Prefixes.change_endpoints`.
        """
        self._prefixes.joining.require_admin(principal, prefix)
        if self._home(prefix).superior is not None:
            return await self.renew(prefix, endpoints=endpoints)
        await in_pool(self._executor, self._prefixes.change_endpoints, principal, prefix, endpoints)
        return self._home(prefix)

    async def renew_due(self) -> dict[str, HazlinkError]:
        """Ask about every joined prefix that waits, rotates, is suspended or has little life left.

        One superior that is silent does not hold up the others.

        Returns:
            what failed, by prefix.
        """
        return await self._ask(await in_pool(self._executor, self._prefixes.joining.due))

    async def run(self, *, every_seconds: float) -> None:
        """Keep delegations fresh until cancelled: own upkeep first, then the superiors.

        What stays due (an operator who takes his time, a superior that is silent) is asked about less and less often,
        up to a minute for a pending request or a rotation, which holds up sealing, and ten minutes for the rest.
        """
        patience: dict[str, _Patience] = {}
        while True:
            try:
                await in_pool(self._executor, self._prefixes.upkeep)
                await self._ask_patiently(patience, every_seconds)
            except HazlinkError:
                # The database or a key is away; readiness says so, and the next round tries again.
                pass
            await self._clock.sleep(every_seconds)

    async def _ask_patiently(self, patience: dict[str, _Patience], first: float) -> None:
        now = self._clock.monotonic()
        due = await in_pool(self._executor, self._prefixes.joining.due)
        for settled in patience.keys() - {home.prefix.key for home in due}:
            del patience[settled]
        ready = [
            home for home in due if home.prefix.key not in patience or patience[home.prefix.key].at <= now
        ]
        await self._ask(ready)
        for home in ready:
            pause = patience[home.prefix.key].pause * _GROWTH if home.prefix.key in patience else first
            soon = home.state is HomeState.PENDING or home.next_kid is not None
            pause = min(pause, _PENDING_PAUSE if soon else _GREATEST_PAUSE)
            patience[home.prefix.key] = _Patience(at=now + pause, pause=pause)

    async def _ask(self, homes: Iterable[Home]) -> dict[str, HazlinkError]:
        failed: dict[str, HazlinkError] = {}
        for home in homes:
            try:
                await self.poll(home.prefix)
            except HazlinkError as error:
                failed[home.prefix.key] = error
        return failed

    async def _learn(self, prefix: Prefix, standing: Standing) -> Home:
        return await in_pool(self._executor, self._prefixes.joining.learn, prefix, standing)

    def _home(self, prefix: Prefix) -> Home:
        home = self._prefixes.homes.home(prefix)
        if home is None:
            raise NotResponsibleError("registry.prefixes.not_homed", field="prefix", prefix=prefix.key)
        return home

    def _superior(self, home: Home) -> SuperiorNode:
        """Return the superior where its own verified statement says it is, else where the invitation said."""
        if home.superior is None:
            raise NotSupportedError("registry.prefixes.own_superior", field="prefix", prefix=home.prefix.key)
        said = read(home.chain[1]).endpoints if len(home.chain) > 1 else Endpoints()
        pin = home.superior.tls_sha256
        found = [Endpoint(url, said.tls_x5t_s256 or pin) for url in said.resolve]
        return self._superiors.at([*found, *(Endpoint(url, pin) for url in home.superior.urls)])
