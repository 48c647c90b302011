"""What the elected process of a node does for the exchange, as long as it is the elected one.

Order at the start: the log is opened with the first prefix, a restored database is healed, what waited for an upgrade
is applied; then everything goes on side by side. A part that fails is noted and tried again; it never stops the
others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from federation.exchange.healing import Healed
from federation.marks.content import lane_name
from federation.membership.service import Membership
from node.election.service import Tenure
from node.exchanging.building import Exchanging
from node.logs import logger
from registry.clock import Clock
from registry.delegation import HomeState, Origin
from registry.errors import HazlinkError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.principal import Grant, Principal, Role
from registry.trust.statement import read
from resolver.pool import in_pool

__all__ = ["Running"]

_PUBLISH_SECONDS = 2.0
_WITNESS_SECONDS = 5.0
_ANSWER_SECONDS = 0.5
_FLUSH_SECONDS = 10.0
_PUBLISHED_SECONDS = 30.0
_FAILED_SECONDS = 2.0


class Running:
    """The exchange at work. Owner of its tasks: the event loop that runs `work`.

    Args:
        parts: of the exchange.
        homes: the prefixes of this node.
        membership: brings a changed log key to the superior.
        endpoints: where this node answers, as delegations carry it.
        clock: the time.
        executor: for blocking calls.
    """

    def __init__(
        self,
        *,
        parts: Exchanging,
        homes: Homes,
        membership: Membership,
        endpoints: Callable[[], dict[str, object]],
        clock: Clock,
        executor: Executor,
    ) -> None:
        self._parts = parts
        self._homes = homes
        self._membership = membership
        self._endpoints = endpoints
        self._clock = clock
        self._executor = executor
        self._log = logger("node.exchange")

    async def work(self, tenure: Tenure) -> None:
        """Do everything until cancelled."""
        parts = self._parts
        self._log.debug("exchange begins", fence=tenure.fence)
        await self._begin()
        healed = await parts.healer.run(tenure.fence)
        if healed != Healed():
            self._log.warning(
                "healed after a restore",
                leaves=healed.leaves,
                envelopes=healed.envelopes,
                new_epochs=[lane_name(*lane) for lane in healed.epochs],
                stopped=[lane_name(*lane) for lane in healed.stopped],
                new_log=parts.logbook.origin if healed.new_log else None,
            )
        await in_pool(self._executor, parts.applier.apply_waiting)
        tasks = [
            asyncio.ensure_future(task)
            for task in (
                parts.healer.keep(tenure.fence),
                parts.sender.run(),
                parts.poller.run(),
                parts.head_sender.run(),
                parts.prover.run(),
                self._every(_PUBLISH_SECONDS, self._publish),
                self._every(_WITNESS_SECONDS, self._witness),
                self._every(_ANSWER_SECONDS, self._answer),
                self._every(_FLUSH_SECONDS, self._flush),
                self._every(_PUBLISHED_SECONDS, self._certify),
            )
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def first_prefix(self) -> Prefix | None:
        """Return the prefix a log is named after: the highest that this node speaks for."""
        active = [home.prefix for home in self._homes.all() if home.state is HomeState.ACTIVE]
        return min(active, key=lambda prefix: (len(prefix.labels), prefix.key), default=None)

    # inside

    async def _begin(self) -> None:
        while True:
            try:
                prefix = self.first_prefix()
                if prefix is not None:
                    await in_pool(self._executor, self._parts.logbook.open, prefix)
            except HazlinkError as error:
                self._log.warning("the exchange cannot begin yet", reason=str(error))
            else:
                # a restored node that may not sign yet has its log already: the healing says what it waits for
                if prefix is not None or await in_pool(self._executor, self._has_log):
                    return
            await self._clock.sleep(_FAILED_SECONDS)

    def _has_log(self) -> bool:
        return self._parts.logbook.origin is not None

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        said = ""
        while True:
            try:
                await act()
                said = ""
            except HazlinkError as error:
                if error.code != said:
                    self._log.warning("the exchange was held up", reason=str(error))
                said = error.code
            await self._clock.sleep(seconds)

    async def _publish(self) -> None:
        await in_pool(self._executor, self._parts.logbook.publish)

    async def _witness(self) -> None:
        """Have this node's log witnessed by the superiors, and witness theirs."""
        try:
            await self._parts.witnessing.push()
        finally:
            await self._parts.witnessing.follow()

    async def _answer(self) -> None:
        while await in_pool(self._executor, self._parts.queries.answer_waiting):
            pass

    async def _flush(self) -> None:
        await in_pool(self._executor, self._parts.meter.flush)

    async def _certify(self) -> None:
        """Let each superior know this node's log key and exchange door, where its statement lacks them."""
        wanted = self._endpoints()
        for home in self._homes.all():
            chain = self._homes.chain(home.prefix)
            if home.state is not HomeState.ACTIVE or home.origin is Origin.HOSTED or not chain:
                continue
            said = read(chain[0]).endpoints
            if (said.log_vkey, said.exchange) != (wanted["log_vkey"], wanted["exchange"]):
                who = Principal(name="node", grants=frozenset({Grant(home.prefix, Role.ADMIN)}))
                await self._membership.change_endpoints(who, home.prefix, wanted)
