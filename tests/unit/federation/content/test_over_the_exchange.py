"""The whole way: sealed, received under real chains, relayed to the top; over real nodes, without the network."""

import os
from dataclasses import dataclass, field

import pytest
from sqlalchemy import insert

from federation.content.dataset import Entry, Operation, load_datasets
from federation.content.notices import Alarm, Notices
from federation.content.policy import Relays
from federation.content.received import Received, handlers
from federation.content.sources import sources
from federation.escrow.announcing import KeyAnnouncements, KeyHandler
from federation.escrow.deposit import Deposits
from federation.escrow.holding import escrow_handlers
from federation.escrow.keys import EscrowKeys
from federation.escrow.takeover import Takeovers
from federation.exchange import receipt as receipts
from federation.exchange.chains import Chains
from federation.exchange.envelope import Draft as Wire
from federation.exchange.handlers import Handlers
from federation.exchange.inbound import Inbound
from federation.exchange.outbox import Outbox
from federation.exchange.receiver import Receiver
from federation.exchange.relay import Relaying
from federation.exchange.relayed import relay_handlers
from federation.exchange.sealing import Sealer, fenced
from federation.exchange.storage.sending import LaneName, SendingUnit
from federation.log.writer import open_log
from federation.marks.file import MarkFile
from registry.identifier import Prefix
from registry.record import Draft
from registry.storage.tables import counter
from registry.template import load_templates
from tests.support.content import a_policy
from tests.support.log import a_log_signer
from tests.support.prefixes import MovedClock, a_node, a_top, admin_of, joined, operator_of

STREAMS = ("alarm", "control", "register", "catalogue", "report")


@dataclass
class Tier:
    """One node with everything of the exchange but the network."""

    node: object
    name: str
    sealer: Sealer
    receiver: Receiver
    inbound: Inbound
    notices: Notices
    received: Received
    takeovers: Takeovers
    position: dict = field(default_factory=dict)

    def send(self, other):
        """Seal and deliver all that is for the other node; return the outcomes."""
        outcomes = []
        for stream in STREAMS:
            while self.sealer.seal(stream, 50):
                pass
            outcomes += self._deliver(stream, other)
        return outcomes

    def _deliver(self, stream, other):
        lane = LaneName(Prefix(self.name), Prefix(other.name), stream)
        after = self.position.get(lane, 0)
        with self.node.database.read() as connection:
            unit = SendingUnit(connection)
            found = list(unit.batch(lane, (1, after), limit=256, max_bytes=64 << 20))
            bodies = {one.body: unit.body(one.body) for one in found if one.body is not None}
        if not found:
            return []
        for sha256, data in bodies.items():
            other.inbound.put_body(lane.iss, sha256, data)
        lines = other.receiver.receive(lane.iss, stream, [one.token for one in found], receiver=lane.aud)
        self.position[lane] = found[-1].seq
        read = [receipts.read(line.receipt) for line in lines]
        return [(one.outcome, one.code) for one in read]


def a_tier(folder, node, name, clock, *rhythms):
    place = folder / f"{name}.exchange"
    place.mkdir()
    marks = MarkFile(place / "exchange.json", fsync=lambda _: None)
    marks.create(os.urandom(16))
    fence = marks.take(os.urandom(16), 0)
    with node.database.write() as connection:
        connection.execute(insert(counter).values(name="fence", next=fence))
    open_log(node.database, origin=f"{name}/log1", signer=a_log_signer(name), clock=clock)
    datasets, policy = load_datasets(), a_policy(*rhythms)
    keys = EscrowKeys(place / "escrow")
    outbox = Outbox(clock=clock)
    chains = Chains(
        database=node.database,
        anchor=node.prefixes.anchor,
        marks=node.marks,
        delegations=node.homes,
        clock=clock,
    )
    kept = Handlers(*handlers(datasets), KeyHandler(), *escrow_handlers())
    for handler in relay_handlers(kept, chains, clock.now):
        kept.register(handler)
    receiver = Receiver(
        database=node.database,
        homes=node.homes,
        chains=chains,
        handlers=kept,
        clock=clock,
        relaying=Relaying(policy=Relays(datasets), drafts=outbox, superiors=node.homes),
    )
    sealer = Sealer(
        database=node.database,
        speakers=node.homes,
        marks=marks,
        may_sign=fenced(marks.fence),
        clock=clock,
        entropy=os.urandom,
        sources=[
            *sources(
                homes=node.homes, datasets=datasets, policy=policy, clock=clock, templates=load_templates()
            ),
            KeyAnnouncements(homes=node.homes, keys=keys, clock=clock),
            Deposits(homes=node.homes, signers=node.homes, clock=clock, entropy=os.urandom),
        ],
    )
    return Tier(
        node=node,
        name=name,
        sealer=sealer,
        receiver=receiver,
        inbound=Inbound(
            database=node.database,
            homes=node.homes,
            chains=chains,
            receiver=receiver,
            sessions=None,
            clock=clock,
        ),
        notices=Notices(
            database=node.database,
            post=outbox,
            homes=node.homes,
            datasets=datasets,
            policy=policy,
            clock=clock,
            entropy=os.urandom,
        ),
        received=Received(database=node.database, datasets=datasets),
        takeovers=Takeovers(
            database=node.database,
            homes=node.homes,
            anchored=node.prefixes,
            records=node.registry,
            keys=keys,
            clock=clock,
        ),
    )


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def tiers(tmp_path, clock):
    top, park, firm = a_top(tmp_path, clock), a_node(tmp_path, "park", clock), a_node(tmp_path, "firm", clock)
    joined(top, park, "88.107")
    joined(park, firm, "88.107.1001")
    quick = "t9=real-time"
    return [
        a_tier(tmp_path, node, name, clock, quick)
        for node, name in ((top, "88"), (park, "88.107"), (firm, "88.107.1001"))
    ]


def batch(identifier="88.107.1001/BATCH-1"):
    fields = {"SUBSTANCE": "88.107.1001/S-1", "QUANTITY": "20 t", "NAME_ZH": "硫酸", "MADE": "2026-09-20"}
    return Draft(identifier, "batch", fields=fields)


def arrived(tier, dataset):
    return tier.received.entries(operator_of(tier.name), dataset, Prefix(tier.name))


def test_everything_an_enterprise_tells_arrives_and_registrations_go_on_to_the_top(tiers, clock):
    top, park, firm = tiers
    firm.node.registry.register(admin_of("88.107.1001"), batch())
    clock.time += 200
    outcomes = firm.send(park)
    assert set(outcomes) == {("accepted", "ok")}
    (found,) = [one for one in arrived(park, "t9") if one.key == "88.107.1001/BATCH-1"]
    assert found.owner == Prefix("88.107.1001")
    assert found.entry.content["name"] == "硫酸"
    assert found.via == ()
    assert {one.key for one in arrived(park, "t1")} == {"88.107.1001"}
    clock.time += 200
    assert set(park.send(top)) == {("accepted", "ok")}
    (above,) = [one for one in arrived(top, "t9") if one.key == "88.107.1001/BATCH-1"]
    assert above.owner == Prefix("88.107.1001"), "the origin, not the relay"
    assert above.env == found.env
    assert above.via == ("88.107",)
    assert {one.key for one in arrived(top, "t6")} == {"88.107.1001"}
    assert {one.owner.key for one in arrived(top, "t1")} == {"88.107"}, (
        "an enterprise's own table stays below"
    )


def test_an_alarm_goes_the_whole_way(tiers):
    top, park, firm = tiers
    firm.notices.send_alarm(Alarm("A-1", "88.107.1001/P-1", "raised", 1, 7, {"text": "超压"}))
    firm.send(park)
    park.send(top)
    (found,) = arrived(top, "alarm")
    assert (found.owner.key, found.entry.content["text"]) == ("88.107.1001", "超压")


def test_a_deposit_goes_up_and_the_park_answers_from_it(tiers, clock):
    _, park, firm = tiers
    firm.node.registry.register(admin_of("88.107.1001"), batch())
    clock.time += 60
    assert ("accepted", "ok") in park.send(firm), "the escrow key comes down on control"
    clock.time += 60
    assert set(firm.send(park)) == {("accepted", "ok")}
    (held,) = park.takeovers.held(operator_of("88.107"), Prefix("88.107"))
    assert (held["owner"], held["kind"]) == ("88.107.1001", "FULL")
    loaded = park.takeovers.begin(operator_of("88.107"), Prefix("88.107.1001"), reason="silent for a day")
    assert (loaded.records, loaded.refused) == (1, 0)
    assert park.node.record("88.107.1001/BATCH-1") == firm.node.record("88.107.1001/BATCH-1")


def test_an_identifier_outside_the_senders_rights_refuses_the_whole_envelope(tiers, clock):
    _, park, firm = tiers
    dataset = load_datasets().newest("t9")

    def entry(identifier):
        content = {"identifier": identifier, "created": "2026-09-21", "metadata": "x", "status": "active"}
        return Entry(1, Operation.ADD, 1, content)

    body = dataset.body([entry("88.107.1001/B-1"), entry("88.107.1002/B-1")])
    with firm.node.database.write() as connection:
        Outbox(clock=clock).append(
            connection,
            Wire(Prefix("88.107.1001"), Prefix("88.107"), "register", dataset.type, dataset.schema, body),
        )
    assert ("rejected", "forbidden_prefix") in firm.send(park)
    assert [one.key for one in arrived(park, "t9") if "B-1" in one.key] == []
