"""Witnessing between this node and its superiors: each cosigns the other's log, and the superior mirrors ours."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from federation.exchange.client import Connect
from federation.exchange.healing_peers import WitnessMirror
from federation.exchange.peers import Peers
from federation.log.following import LogFollower
from federation.log.log_http import LogHttp
from federation.log.note import NoteKey, parse_vkey
from federation.log.watched import KnownLogs
from federation.log.witness_client import WitnessClient, WitnessPeer
from node.exchanging.logbook import Logbook
from registry.delegation import HomeState
from registry.errors import HazlinkError, NotFoundError
from registry.identifier import Prefix
from registry.prefixes.homes import Homes
from registry.trust.statement import Statement, read
from resolver.pool import in_pool

__all__ = ["Witnessing"]


@dataclass(frozen=True, slots=True)
class _Above:
    """A superior's node, as its verified statement names it."""

    own: Prefix
    said: Statement
    url: str
    vkey: str


class Witnessing:
    """The witnesses of this node's log, and the superiors' logs this node witnesses.

    Owner of the clients: the event loop that uses them. Errors: as said at each method.
    """

    def __init__(
        self,
        *,
        homes: Homes,
        peers: Peers,
        logbook: Logbook,
        known_logs: KnownLogs,
        connect: Connect,
        executor: Executor,
    ) -> None:
        self._homes = homes
        self._peers = peers
        self._logbook = logbook
        self._known_logs = known_logs
        self._connect = connect
        self._executor = executor
        # by the name of the own log as well: after a loss another log, with another key, may have taken its place
        self._clients: dict[tuple[str, _Above], WitnessClient] = {}
        self._followers: dict[tuple[str, _Above], LogFollower] = {}

    def refresh_logs(self) -> None:
        """Take over whose logs are certified: of the prefixes above and below this node."""
        certified: list[tuple[Prefix, str]] = []
        below: set[Prefix] = set()
        for made in self._homes.delegations():
            vkey = read(made.token).endpoints.log_vkey
            if vkey is not None:
                certified.append((made.prefix, vkey))
                below.add(made.prefix)
        for home in self._homes.all():
            for token in self._homes.chain(home.prefix)[1:]:
                said = read(token)
                if said.endpoints.log_vkey is not None:
                    certified.append((said.subject, said.endpoints.log_vkey))
        self._known_logs.replace(certified, mirror=below)

    def mirrors(self) -> Sequence[WitnessMirror]:
        """Return the witnesses that keep this node's leaves.

        Raises:
            UnavailableError: the log's key cannot be loaded.
        """
        return [WitnessMirror(client) for client in self._witnesses()]

    async def push(self) -> None:
        """Have the newest checkpoint cosigned by every superior's node.

        Raises:
            HazlinkError: one of them did not; the others were asked all the same.
        """
        failure: HazlinkError | None = None
        for client in await in_pool(self._executor, lambda: list(self._witnesses())):
            try:
                await client.push()
            except NotFoundError:
                continue  # nothing is published yet
            except HazlinkError as error:
                failure = error
        if failure is not None:
            raise failure

    async def follow(self) -> None:
        """Cosign the newest checkpoint of every superior's log.

        Raises:
            HazlinkError: one of them could not be followed; the others were all the same.
        """
        failure: HazlinkError | None = None
        for follower in await in_pool(self._executor, lambda: list(self._following())):
            try:
                await follower.follow()
            except HazlinkError as error:
                failure = error
        if failure is not None:
            raise failure

    # inside

    def _superiors(self) -> Iterator[_Above]:
        for home in self._homes.all():
            chain = self._homes.chain(home.prefix)
            # the own statement, then the superior's
            if home.state is not HomeState.ACTIVE or home.superior is None or len(chain) < 2:  # noqa: PLR2004 — see above
                continue
            said = read(chain[1])
            url = said.endpoints.exchange or next(iter(said.endpoints.resolve), None)
            if url is not None and said.endpoints.log_vkey is not None:
                yield _Above(home.prefix, said, url, said.endpoints.log_vkey)

    def _witnesses(self) -> Iterator[WitnessClient]:
        writer = self._logbook.writer()
        if writer is None:
            return
        for above in self._superiors():
            place = (writer.key.name, above)
            if place not in self._clients:
                self._clients[place] = WitnessClient(
                    connect=self._connect,
                    peer=WitnessPeer(above.url, above.said.endpoints.tls_x5t_s256, _key(above).as_witness()),
                    reader=self._logbook.reader,
                    writer=writer,
                    executor=self._executor,
                    token=self._peers.above(above.own, above.said.subject).bearer,
                )
            yield self._clients[place]

    def _following(self) -> Iterator[LogFollower]:
        witness = self._logbook.witness(self._known_logs)
        if witness is None:
            return
        for above in self._superiors():
            place = (self._logbook.origin or "", above)
            if place not in self._followers:
                self._followers[place] = LogFollower(
                    http=LogHttp(
                        connect=self._connect,
                        url=above.url,
                        tls_sha256=above.said.endpoints.tls_x5t_s256,
                        token=self._peers.above(above.own, above.said.subject).bearer,
                    ),
                    keys=[_key(above)],
                    witness=witness,
                    executor=self._executor,
                )
            yield self._followers[place]


def _key(above: _Above) -> NoteKey:
    return parse_vkey(above.vkey)
