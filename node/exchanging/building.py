"""The parts of the exchange, made by hand with their collaborators by name; nothing runs here."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from federation.content.dataset import Datasets
from federation.content.measuring import Meter
from federation.content.notices import Notices
from federation.content.own import OwnEntries
from federation.content.policy import Relays
from federation.content.received import Received
from federation.escrow.serving import TakeoverReasons
from federation.escrow.takeover import Takeovers
from federation.evidence.export import Exporter
from federation.evidence.vouchers import StoredVouchers
from federation.exchange.applying import Applier
from federation.exchange.chains import Chains
from federation.exchange.client import Connect
from federation.exchange.handlers import Handlers
from federation.exchange.heads import Heads, HeadSender
from federation.exchange.healing import Healer
from federation.exchange.healing_log import LogHealing
from federation.exchange.healing_peers import HomeKeys, PeerReceivers
from federation.exchange.inbound import Inbound
from federation.exchange.outbound import Outbound
from federation.exchange.outbox import Outbox
from federation.exchange.peers import Peers
from federation.exchange.polling import Downward, Poller
from federation.exchange.proving import Proofs, Prover
from federation.exchange.reaching import Reaching
from federation.exchange.receiver import Receiver
from federation.exchange.recovery import Recovery, healed_only
from federation.exchange.relay import Relaying
from federation.exchange.rotating import key_in_use
from federation.exchange.routes import Exchange
from federation.exchange.sealing import Sealer, fenced
from federation.exchange.sender import Sender
from federation.exchange.sessions import Sessions
from federation.exchange.settling import Settlement
from federation.exchange.status import ExchangeStatus
from federation.log.checkpoint import Checkpoint
from federation.log.forks import ForkWatch
from federation.log.note import parse_note
from federation.log.watched import KnownLogs
from federation.marks.file import MarkFile
from federation.queries.service import Queries
from node.accounts.tokens import NodeTokens
from node.election.service import Election
from node.exchanging.contents import gather
from node.exchanging.ground import Ground
from node.exchanging.logbook import Logbook
from node.exchanging.witnessing import Witnessing
from node.logs import logger
from registry.errors import HazlinkError
from registry.identifier import Prefix
from registry.storage.engine import Database
from resolver.peer_http import guarded_client

__all__ = ["Exchanging", "build"]

_CREDIT = 256
_URGENT_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanging:
    """The parts of the exchange."""

    connect: Connect
    known_logs: KnownLogs
    witnessing: Witnessing
    healer: Healer
    status: ExchangeStatus
    exporter: Exporter
    database: Database
    forks: ForkWatch
    doors: Exchange
    poller: Poller
    head_sender: HeadSender
    prover: Prover
    election: Election
    mark_file: MarkFile
    logbook: Logbook
    datasets: Datasets
    chains: Chains
    reaching: Reaching
    handlers: Handlers
    receiver: Receiver
    sessions: Sessions
    inbound: Inbound
    applier: Applier
    outbox: Outbox
    sealer: Sealer
    settlement: Settlement
    peers: Peers
    sender: Sender
    urgent: ThreadPoolExecutor
    received: Received
    own_entries: OwnEntries
    notices: Notices
    meter: Meter
    queries: Queries
    takeovers: Takeovers

    def close(self) -> None:
        """Let go of the threads."""
        self.urgent.shutdown(wait=True, cancel_futures=True)


def build(ground: Ground) -> Exchanging:
    """Make the parts.

    Raises:
        InvalidValueError: a rule of sharing cannot be read.
    """
    settings, clock, database, homes = ground.settings, ground.clock, ground.database, ground.homes
    executor, entropy, config = ground.executor, ground.entropy, ground.settings.exchange
    urgent = ThreadPoolExecutor(
        _URGENT_THREADS, thread_name_prefix="hazlink-urgent", initializer=database.hurry
    )
    mark_file = MarkFile(settings.data / "marks" / "exchange.json")
    election = Election(
        database=database,
        data=settings.data,
        marks=mark_file,
        clock=clock,
        entropy=entropy,
        executor=executor,
    )

    def fence() -> int:
        tenure = election.tenure
        return tenure.fence if tenure is not None else 0

    def copy() -> tuple[bytes, int]:
        tenure = election.tenure
        return (tenure.instance, tenure.fence) if tenure is not None else (bytes(16), 0)

    may_sign = fenced(fence)
    # any process of this node may receive, but only into a database that was found whole
    may_receive = healed_only(fence, alone=database.is_sqlite)
    logbook = Logbook(database=database, keys=ground.keys, marks=mark_file, clock=clock, fence=fence)
    judge = ground.prefixes.revoking.judge()
    chains = Chains(
        database=database,
        anchor=ground.prefixes.anchor,
        marks=ground.marks,
        delegations=homes,
        clock=clock,
    )
    reaching = Reaching(homes=homes, chains=chains, anchor=ground.prefixes.anchor, clock=clock)

    contents = gather(ground, chains, judge)
    outbox, handlers, datasets, policy = (
        contents.outbox,
        contents.handlers,
        contents.datasets,
        contents.policy,
    )

    # receiving
    receiver = Receiver(
        database=database,
        homes=homes,
        chains=chains,
        handlers=handlers,
        clock=clock,
        credit=_CREDIT,
        judge=judge,
        may_sign=may_receive,
        relaying=Relaying(policy=Relays(datasets), drafts=outbox, superiors=homes),
    )
    sessions = Sessions(
        database=database,
        chains=chains,
        homes=homes,
        nonces=ground.prefixes,
        tokens=NodeTokens(ground.tokens),
        handlers=handlers,
        clock=clock,
        credit=_CREDIT,
        judge=judge,
    )
    inbound = Inbound(
        database=database,
        homes=homes,
        chains=chains,
        receiver=receiver,
        sessions=sessions,
        clock=clock,
        judge=judge,
        may_sign=may_receive,
    )

    # sending
    sealer = Sealer(
        database=database,
        speakers=homes,
        marks=mark_file,
        may_sign=may_sign,
        clock=clock,
        entropy=entropy,
        sources=contents.sources,
        key_in_use=key_in_use,
    )
    settlement = Settlement(database=database, keys=reaching, may_sign=may_sign, clock=clock)
    connect = partial(guarded_client, settings.peers)
    peers = Peers(
        reaching=reaching,
        here=inbound,
        connect=connect,
        speakers=homes,
        copy=copy,
        clock=clock,
        executor=executor,
        urgent=urgent,
        config=config,
    )
    sender = Sender(
        sealer=sealer,
        settlement=settlement,
        peers=peers,
        speakers=homes,
        clock=clock,
        executor=executor,
        urgent=urgent,
        entropy=entropy,
        config=config,
    )
    poller = Poller(
        database=database,
        peers=peers,
        here=inbound,
        clock=clock,
        executor=executor,
        entropy=entropy,
        config=config,
        on_contact=sender.returned,
    )
    forks = ForkWatch(database, clock)
    known_logs = KnownLogs()
    witnessing = Witnessing(
        homes=homes,
        peers=peers,
        logbook=logbook,
        known_logs=known_logs,
        connect=connect,
        executor=executor,
    )
    healer = Healer(
        recovery=Recovery(
            database=database,
            own_keys=HomeKeys(homes, ground.prefixes.revoking.history),
            receiver_keys=reaching,
            may_sign=may_sign,
            clock=clock,
        ),
        marks=mark_file,
        log=LogHealing(
            database=database,
            origin=lambda: logbook.origin or "",
            mirrors=witnessing.mirrors,
            executor=executor,
        ),
        receivers=PeerReceivers(
            peers=peers, reaching=reaching, speakers=homes, clock=clock, executor=executor
        ),
        speakers=homes,
        renew_log=logbook.renew,
        clock=clock,
        executor=executor,
        confirm=ground.confirm,
    )
    status = ExchangeStatus(
        database=database,
        homes=homes,
        log=logbook.reader,
        writer_stopped=lambda: logbook.stopped,
        skews=peers.skews,
        disk=partial(_disk, settings.data),
        clock=clock,
        config=config,
        besides=TakeoverReasons(ground.takeovers),
    )
    heads = Heads(
        database=database,
        speakers=homes,
        homes=homes,
        reaching=reaching,
        clock=clock,
        saw=partial(_saw, known_logs, forks),
    )
    proofs = Proofs(database=database, reaching=reaching, clock=clock)
    downward = Downward(
        database=database,
        reaching=reaching,
        settlement=settlement,
        clock=clock,
        executor=executor,
        config=config,
        stopping=ground.stopping,
    )
    outbound = Outbound(
        database=database,
        downward=downward,
        settlement=settlement,
        heads=heads,
        proofs=proofs,
        reaching=reaching,
    )
    return Exchanging(
        connect=connect,
        known_logs=known_logs,
        witnessing=witnessing,
        healer=healer,
        status=status,
        exporter=Exporter(
            database=database,
            vouchers=StoredVouchers(store=ground.prefix_store, homes=homes, database=database),
        ),
        database=database,
        forks=forks,
        doors=Exchange(inbound=inbound, outbound=outbound, urgent=urgent),
        poller=poller,
        head_sender=HeadSender(
            heads=heads,
            peers=peers,
            clock=clock,
            executor=executor,
            config=config,
            on_expected=sender.expected,
        ),
        prover=Prover(
            proofs=proofs,
            peers=peers,
            homes=homes.answers_for,
            clock=clock,
            executor=executor,
            config=config,
        ),
        election=election,
        mark_file=mark_file,
        logbook=logbook,
        datasets=datasets,
        chains=chains,
        reaching=reaching,
        handlers=handlers,
        receiver=receiver,
        sessions=sessions,
        inbound=inbound,
        applier=Applier(database=database, chains=chains, handlers=handlers),
        outbox=outbox,
        sealer=sealer,
        settlement=settlement,
        peers=peers,
        sender=sender,
        urgent=urgent,
        received=Received(database=database, datasets=datasets),
        own_entries=OwnEntries(database=database, datasets=datasets, homes=homes, clock=clock),
        notices=Notices(
            database=database,
            post=outbox,
            homes=homes,
            datasets=datasets,
            policy=policy,
            clock=clock,
            entropy=entropy,
        ),
        meter=Meter(database=database, clock=clock),
        queries=contents.queries,
        takeovers=ground.takeovers,
    )


def _disk(folder: Path) -> float:
    """Return which part of the disk of the data folder is in use."""
    usage = shutil.disk_usage(folder)
    return usage.used / usage.total


def _saw(logs: KnownLogs, forks: ForkWatch, sender: Prefix, note: bytes) -> None:
    """Compare the checkpoint that came with a head with those of the same log seen elsewhere."""
    try:
        log = logs.find(Checkpoint.parse(parse_note(note).text).origin)
        if log is not None:
            forks.see(note, log.keys, via=sender.key)
    except HazlinkError as error:
        logger("node.exchange").warning(
            "a checkpoint contradicts another", sender=sender.key, reason=str(error)
        )
