"""From the first deposit to the take-over and back, over two real nodes without the network between them."""

import hashlib
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import delete, insert, update

from federation.escrow import storage as tables
from federation.escrow.announcing import KeyAnnouncements, KeyHandler
from federation.escrow.answering import TakenOver
from federation.escrow.deposit import Deposits
from federation.escrow.holding import DepositHandler, PartHandler, escrow_handlers
from federation.escrow.keys import EscrowKeys
from federation.escrow.serving import TakeoverReasons
from federation.escrow.storage import EscrowUnit
from federation.escrow.takeover import Takeovers
from federation.exchange import envelope as wire
from federation.exchange.envelope import Draft, Position
from federation.exchange.handlers import Delivery, Handlers
from federation.exchange.status import Level
from federation.exchange.storage.sending_tables import exchange_lane, exchange_out
from registry.errors import (
    ConflictError,
    ForbiddenError,
    InvalidValueError,
    MalformedError,
    NotFoundError,
    NotResponsibleError,
    UntrustedError,
)
from registry.identifier import Identifier, Prefix
from registry.principal import ANONYMOUS
from registry.record import Status
from registry.trust.chain import chain_sha256, verify_chain
from registry.trust.record_signature import public_jws, restricted_jws, verify_record
from resolver.authority import RegistryAuthority
from tests.support.content import two_tiers
from tests.support.prefixes import DAY, MovedClock, admin_of, operator_of

PARK, TOP = Prefix("88.107"), Prefix("88")


class Pair:
    """A top that holds deposits and a park that makes them."""

    def __init__(self, folder):
        self.clock = MovedClock()
        self.top, self.park = two_tiers(folder, self.clock)
        self.keys = EscrowKeys(folder / "escrow", b"passphrase")
        self.announcements = KeyAnnouncements(homes=self.top.homes, keys=self.keys, clock=self.clock)
        self.deposits = Deposits(
            homes=self.park.homes, signers=self.park.homes, clock=self.clock, entropy=os.urandom
        )
        self.takeovers = Takeovers(
            database=self.top.database,
            homes=self.top.homes,
            anchored=self.top.prefixes,
            records=self.top.registry,
            keys=self.keys,
            clock=self.clock,
        )
        self.authority = RegistryAuthority(
            registry=self.top.registry, homes=TakenOver(self.top.homes, self.takeovers)
        )
        self.number = 0

    def delivery(self, draft, **other):
        self.number += 1
        sender = self.park if draft.iss == PARK else self.top
        tokens = sender.homes.chain(draft.iss)
        content = {
            "envelope": SimpleNamespace(env=f"{self.number:043}"),
            "origin": draft.iss,
            "via": (),
            "chain": verify_chain(tokens, anchor=sender.prefixes.anchor(), now=self.clock.now()),
            "received_at": int(self.clock.now()),
            "body": draft.body,
            "receiver": draft.aud,
        }
        return Delivery(**content | other)

    def deliver(self, draft, **other):
        handlers = Handlers(KeyHandler(), *escrow_handlers())
        handler = handlers.find(draft.type, draft.schema)
        assert handler.stream == draft.stream
        handler.check(draft.body)
        node = self.top if draft.aud == TOP else self.park
        with node.database.write() as connection:
            handler.apply(connection, self.delivery(draft, **other))

    def announce(self):
        self.clock.time += 60
        with self.top.database.write() as connection:
            drafts = self.announcements.collect(connection, 10)
        for draft in drafts:
            self.deliver(draft)
        return drafts

    def made(self, limit=10):
        """What the park would send now."""
        self.clock.time += 60
        found = []
        while True:
            with self.park.database.write() as connection:
                more = self.deposits.collect(connection, limit)
            if not more:
                return found
            found += more

    def deposit(self):
        drafts = self.made()
        for draft in drafts:
            self.deliver(draft)
        return drafts

    def next_day(self):
        self.clock.time += DAY

    def held(self):
        return self.takeovers.held(operator_of("88"), TOP)


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    made.announce()
    return made


def kinds(drafts):
    return [draft.type for draft in drafts]


def test_nothing_is_deposited_before_the_superior_announced_its_key(tmp_path):
    made = Pair(tmp_path)
    assert made.made() == []
    assert kinds(made.announce()) == ["escrow.key"]
    assert kinds(made.made()) == ["escrow.part", "escrow.deposit"]


def test_a_key_is_announced_once_and_a_new_one_again(pair):
    assert pair.announce() == []
    pair.keys.create()
    assert kinds(pair.announce()) == ["escrow.key"]


def test_a_key_is_taken_from_the_superior_alone(pair):
    (_, draft) = (None, pair.announcements)
    pair.keys.create()
    pair.clock.time += 60
    with pair.top.database.write() as connection:
        (draft,) = pair.announcements.collect(connection, 10)
    for other in ({"origin": Prefix("88.108")}, {"via": (TOP,)}):
        with pytest.raises(ForbiddenError):
            pair.deliver(draft, **other)


@pytest.mark.parametrize("x", ["", "AA", "A" * 43, "no base64 at all"])
def test_a_key_nobody_can_agree_with_is_refused(x):
    with pytest.raises((InvalidValueError, MalformedError)):
        KeyHandler().check({"kid": "A" * 43, "x": x, "at": 1})


def test_a_deposit_is_made_once_a_day_full_first_then_what_changed(pair):
    pair.park.register("88.107/B-1")
    pair.deposit()
    assert pair.made() == []
    pair.next_day()
    pair.park.register("88.107/B-2")
    pair.deposit()
    assert [(row["rev"], row["kind"], row["base"]) for row in pair.held()] == [(2, "DIFF", 1), (1, "FULL", 0)]
    assert pair.held()[0]["records"] < pair.held()[1]["records"] + 1


def test_after_a_week_or_with_a_new_key_it_is_a_full_one_again(pair):
    pair.deposit()
    for _ in range(8):
        pair.next_day()
        pair.deposit()
    assert [row["kind"] for row in pair.held()].count("FULL") == 2
    pair.keys.create()
    pair.announce()
    pair.deposit()
    assert pair.held()[0]["kind"] == "FULL"
    fulls = [row["rev"] for row in pair.held() if row["kind"] == "FULL"]
    assert len(fulls) == 2, "one older full deposit stays, what is older is thrown away"
    assert min(row["rev"] for row in pair.held()) == fulls[-1]


def test_what_is_deposited_cannot_be_read_on_the_way(pair):
    pair.park.register("88.107/B-1", private="geheim")
    part, _ = pair.made()
    assert b"geheim" not in part.body
    assert b"B-1" not in part.body


def test_the_drill_opens_and_verifies_and_stores_nothing(pair):
    pair.park.register("88.107/B-1", private="geheim")
    pair.deposit()
    drill = pair.takeovers.check(operator_of("88"), PARK)
    assert (drill.rev, drill.refused) == (1, 0)
    assert drill.records >= 1
    assert pair.top.record("88.107/B-1") is None
    assert pair.takeovers.active == {}


def test_a_taken_over_prefix_is_answered_for_with_its_own_signature(pair):
    pair.park.register("88.107/B-1", "one", private="geheim")
    pair.deposit()
    pair.next_day()
    pair.park.register("88.107/B-1", "two", private="geheim")
    pair.park.register("88.107/B-2")
    pair.park.registry.delete(admin_of("88.107"), "88.107/B-2", reason="x")
    pair.deposit()
    wanted = Identifier.parse("88.107/B-1")
    assert not pair.authority.homes(wanted)
    loaded = pair.takeovers.begin(operator_of("88"), PARK, reason="the node burnt down")
    assert (loaded.rev, loaded.refused) == (2, 0)
    assert pair.authority.homes(wanted)
    assert pair.authority.delegation(PARK) == ()
    (record,) = pair.authority.records([wanted])
    assert record == pair.park.record("88.107/B-1")
    chain = verify_chain(
        pair.authority.chain_of(record), anchor=pair.top.prefixes.anchor(), now=pair.clock.now()
    )
    verify_record(
        public_jws=public_jws(record),
        restricted_jws=restricted_jws(record),
        shown=record.values,
        chain=chain,
        identifier=wanted,
        now=pair.clock.now(),
    ).require_match(record)
    (gone,) = pair.authority.records([Identifier.parse("88.107/B-2")])
    assert gone.status is Status.DELETED


def test_handing_back_refers_to_the_node_again_and_a_second_take_over_adds_what_is_newer(pair):
    pair.park.register("88.107/B-1", "one")
    pair.deposit()
    pair.takeovers.begin(operator_of("88"), PARK, reason="gone")
    pair.takeovers.end(operator_of("88"), PARK)
    wanted = Identifier.parse("88.107/B-1")
    assert not pair.authority.homes(wanted)
    assert pair.authority.delegation(PARK) == pair.top.homes.delegation(PARK) != ()
    pair.next_day()
    pair.park.register("88.107/B-1", "two")
    pair.deposit()
    pair.takeovers.begin(operator_of("88"), PARK, reason="gone again")
    assert pair.top.record("88.107/B-1") == pair.park.record("88.107/B-1")
    trail = pair.takeovers.trail(admin_of("88"), TOP)
    assert [(row["number"], row["open"], row["ended_by"]) for row in trail] == [
        (2, 1, None),
        (1, 0, "operator@88"),
    ]


def test_a_take_over_is_known_after_a_restart(pair):
    pair.park.register("88.107/B-1")
    pair.deposit()
    pair.takeovers.begin(operator_of("88"), PARK, reason="gone")
    pair.takeovers._active = {}
    pair.takeovers.refresh()
    assert set(pair.takeovers.active) == {"88.107"}


def test_what_the_taken_over_prefix_had_delegated_is_referred_to(pair, tmp_path):
    from tests.support.prefixes import a_node, joined

    enterprise = a_node(tmp_path, "enterprise", pair.clock)
    joined(pair.park, enterprise, "88.107.1001")
    pair.deposit()
    pair.takeovers.begin(operator_of("88"), PARK, reason="gone")
    below = Prefix("88.107.1001")
    assert not pair.authority.homes(Identifier.parse("88.107.1001/B-1"))
    assert pair.authority.homes(Identifier.parse("0.NA/88.107.1001"))
    chain = pair.authority.delegation(below)
    assert verify_chain(chain, anchor=pair.top.prefixes.anchor(), now=pair.clock.now()).subject == below


def test_only_the_superiors_operator_takes_over_and_says_why(pair):
    pair.deposit()
    for nobody in (ANONYMOUS, operator_of("88.107")):
        with pytest.raises(Exception, match=r".") as refused:
            pair.takeovers.begin(nobody, PARK, reason="x")
        assert refused.value.kind.value in {"unauthenticated", "forbidden"}
    for reason in ("", "  ", "x" * 501, "a\0b", "a\nb"):
        with pytest.raises(MalformedError):
            pair.takeovers.begin(operator_of("88"), PARK, reason=reason)
    pair.takeovers.begin(operator_of("88"), PARK, reason="x")
    with pytest.raises(ConflictError):
        pair.takeovers.begin(operator_of("88"), PARK, reason="x")


def test_without_a_deposit_or_a_delegation_there_is_nothing_to_take_over(pair):
    with pytest.raises(NotFoundError):
        pair.takeovers.begin(operator_of("88"), PARK, reason="x")
    with pytest.raises(NotResponsibleError):
        pair.takeovers.begin(operator_of("88"), Prefix("88.108"), reason="x")
    with pytest.raises(NotFoundError):
        pair.takeovers.end(operator_of("88"), PARK)


def test_a_deposit_with_a_part_missing_or_changed_is_rejected(pair):
    pair.park.register("88.107/B-1")
    part, manifest = pair.made()
    with pytest.raises(InvalidValueError):
        pair.deliver(manifest)
    changed = bytearray(part.body)
    changed[-1] ^= 1
    pair.deliver(type(part)(part.iss, part.aud, part.stream, part.type, part.schema, bytes(changed)))
    with pytest.raises(InvalidValueError):
        pair.deliver(manifest)
    pair.deliver(part)
    pair.deliver(manifest)
    with pytest.raises(ConflictError):
        pair.deliver(manifest)


def test_a_part_changed_after_it_was_kept_is_noticed_when_it_is_opened(pair):
    pair.park.register("88.107/B-1")
    pair.deposit()
    with pair.top.database.write() as connection:
        (row,) = EscrowUnit(connection).held("88")
        data = bytearray(EscrowUnit(connection).part_data("88", "88.107", row["deposit"], 1))
        data[-1] ^= 1
        connection.execute(update(tables.part).values(data=bytes(data)))
    with pytest.raises(UntrustedError):
        pair.takeovers.begin(operator_of("88"), PARK, reason="x")
    assert pair.takeovers.active == {}


def test_a_difference_without_what_it_stands_on_is_rejected(pair):
    pair.made()
    pair.next_day()
    part, manifest = pair.made()
    pair.deliver(part)
    with pytest.raises(ConflictError):
        pair.deliver(manifest)


def refuse(pair, draft):
    """Let the park's outbox have an envelope with this draft that the top refused for good."""
    chain = pair.park.homes.chain(PARK)
    pair.number += 1
    signer, _ = pair.park.homes.signer_for(PARK)
    sealed = wire.seal(
        signer, draft, Position(1, pair.number, "A" * 43), chain=chain_sha256(chain),
        jti=wire.uuid7(pair.number, bytes), iat=int(pair.clock.now()),
    )  # fmt: skip
    lane = {"iss": PARK.key, "aud": TOP.key, "stream": "report", "epoch": 1}
    with pair.park.database.write() as connection:
        connection.execute(delete(exchange_lane))
        connection.execute(
            insert(exchange_lane).values(
                **lane, next_seq=9, prev=bytes(32), acked_seq=8, state="open", rejected=1, sealed_at=1
            )
        )
        connection.execute(
            insert(exchange_out).values(
                **lane, seq=pair.number, env=hashlib.sha256(sealed.token.encode()).digest(), jti=sealed.jti,
                token=sealed.token.encode(), queued_at=1, out_index=pair.number, state=1, outcome="rejected",
                code="business",
            )
        )  # fmt: skip


def test_a_refused_difference_is_followed_by_a_full_deposit_at_once(pair):
    pair.park.register("88.107/B-1")
    pair.made()  # the first one is lost at the superior
    pair.next_day()
    pair.park.register("88.107/B-2")
    part, manifest = pair.made()
    with pytest.raises(ConflictError):
        pair.deliver(part), pair.deliver(manifest)
    assert pair.made() == []
    refuse(pair, manifest)
    pair.deposit()
    assert [(row["rev"], row["kind"]) for row in pair.held()] == [(3, "FULL")]
    assert pair.takeovers.check(operator_of("88"), PARK).records == 2
    # and then on as ever
    assert pair.made() == []
    pair.next_day()
    pair.deposit()
    assert [(row["rev"], row["kind"]) for row in pair.held()] == [(4, "DIFF"), (3, "FULL")]


def test_a_refused_full_deposit_is_not_repeated_before_the_next_day(pair):
    _, manifest = pair.made()
    refuse(pair, manifest)
    assert pair.made() == []
    pair.next_day()
    pair.deposit()
    assert [(row["rev"], row["kind"]) for row in pair.held()] == [(2, "FULL")]


def test_other_refusals_on_the_stream_change_nothing_about_the_deposits(pair):
    pair.deposit()
    pair.next_day()
    part, manifest = pair.made()
    refuse(pair, Draft(PARK, TOP, "report", "dataset.entries", "node-statistics/1", {"entries": []}))
    refuse(pair, Draft(PARK, TOP, "report", manifest.type, manifest.schema, {"manifest": "x.y.z"}))
    refuse(pair, Draft(PARK, TOP, "report", manifest.type, manifest.schema, {}))
    assert part.type == "escrow.part"
    assert pair.made() == []


def test_a_take_over_is_an_amber_reason_that_names_whose_records_and_which_deposit(pair):
    reasons = TakeoverReasons(pair.takeovers)
    pair.park.register("88.107/B-1")
    pair.deposit()
    deposited = pair.held()[0]["at"]
    assert reasons() == []
    pair.next_day()
    pair.takeovers.begin(operator_of("88"), PARK, reason="机房火灾")
    (reason,) = reasons()
    assert (reason.level, reason.whole) == (Level.AMBER, False)
    for language in ("zh", "en"):
        text = reason.error.message(language)
        for part in (
            "88.107",
            "1",
            "机房火灾",
            datetime.fromtimestamp(deposited, UTC).strftime("%Y-%m-%d %H:%M"),
        ):
            assert part in text
    pair.takeovers.end(operator_of("88"), PARK)
    assert reasons() == []


def test_who_is_no_child_deposits_nothing(pair):
    part, manifest = pair.made()
    for draft in (part, manifest):
        with pytest.raises(ForbiddenError):
            pair.deliver(draft, origin=Prefix("88.107.1001"))
        with pytest.raises(ForbiddenError):
            pair.deliver(draft, via=(PARK,))


def test_a_key_that_changes_in_the_middle_begins_the_deposit_anew(pair, monkeypatch):
    monkeypatch.setattr("federation.escrow.deposit._PART_RECORDS", 2)
    for number in range(9):
        pair.park.register(f"88.107/B-{number}")
    pair.clock.time += 60
    with pair.park.database.write() as connection:
        (first,) = pair.deposits.collect(connection, 1)
    pair.keys.create()
    pair.announce()
    drafts = pair.deposit()
    assert drafts[-1].type == "escrow.deposit"
    assert pair.takeovers.check(operator_of("88"), PARK).records == 9
    assert first.type == "escrow.part"


def test_a_deposit_of_many_parts_survives_changes_meanwhile(pair, monkeypatch):
    monkeypatch.setattr("federation.escrow.deposit._PART_RECORDS", 3)
    for number in range(10):
        pair.park.register(f"88.107/B-{number}", "one")
    found = []
    for step in range(40):
        pair.clock.time += 60
        with pair.park.database.write() as connection:
            found += pair.deposits.collect(connection, 1)
        pair.park.register(f"88.107/B-{step % 10}", f"new {step}")
        if found[-1].type == "escrow.deposit":
            break
    for draft in found:
        pair.deliver(draft)
    pair.next_day()
    pair.deposit()
    pair.takeovers.begin(operator_of("88"), PARK, reason="gone")
    for number in range(10):
        name = f"88.107/B-{number}"
        assert pair.top.record(name) == pair.park.record(name)


def test_a_transaction_that_fails_leaves_the_deposit_where_it_was(pair):
    pair.park.register("88.107/B-1")
    pair.clock.time += 60
    try:
        with pair.park.database.write() as connection:
            assert pair.deposits.collect(connection, 1)
            raise RuntimeError
    except RuntimeError:
        pass
    pair.deposit()
    assert pair.takeovers.check(operator_of("88"), PARK).refused == 0


def test_handlers_speak_for_nobody():
    for handler in (KeyHandler(), PartHandler(), DepositHandler()):
        assert tuple(handler.identifiers({})) == ()
    with pytest.raises(MalformedError):
        PartHandler().check({"not": "bytes"})
    with pytest.raises(MalformedError):
        DepositHandler().check({"manifest": 5})


def test_another_nodes_key_opens_nothing(pair, tmp_path):
    pair.deposit()
    pair.takeovers._loader._keys = SimpleNamespace(load=lambda kid: X25519PrivateKey.generate())
    with pytest.raises(UntrustedError):
        pair.takeovers.check(operator_of("88"), PARK)
