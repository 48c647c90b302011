from dataclasses import replace

import pytest

from federation.exchange.proving import check_proofs
from federation.exchange.storage.sending import Acknowledgement, SendingUnit
from federation.exchange.storage.sending_proofs import ProofUnit
from federation.exchange.storage.sending_rows import Proven
from federation.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from federation.log.storage import WitnessUnit
from registry.errors import HazlinkError, NotFoundError, UntrustedError
from registry.identifier import Prefix
from registry.trust.encoding import b64u
from tests.support.exchange_pair import PARK, WORKS, a_pair, a_side
from tests.support.log import a_log_signer
from tests.support.prefixes import MovedClock
from tests.support.trust import NOW


async def with_receipts(pair, count=20):
    pair.works.write("register", *({"n": n} for n in range(count)))
    async with pair.works.running():
        await pair.settled("register")


def proven(side):
    return [row.proof is not None for row in side.sent("register")]


async def test_only_what_the_checkpoint_covers_is_proven_and_the_rest_comes_later(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 5)
        await pair.works.prover.once()
        assert not any(proven(pair.works))
        pair.park.log.publish()
        await with_receipts(pair, 5)
        await pair.works.prover.once()
        assert proven(pair.works) == [True] * 5 + [False] * 5
        pair.park.log.publish()
        await pair.works.prover.once()
        assert all(proven(pair.works))


async def test_a_log_key_that_the_superior_did_not_certify_proves_nothing(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair)
        pair.park.log.publish()
        vkey, pair.works.reaching.log_vkey = pair.works.reaching.log_vkey, lambda iss, aud: None
        with pytest.raises(NotFoundError):
            pair.works.proofs.key(WORKS, PARK)
        await pair.works.prover.once()
        assert not any(proven(pair.works))
        pair.works.reaching.log_vkey = vkey
        await pair.works.prover.once()
        assert all(proven(pair.works))


async def test_fault_20_a_checkpoint_that_does_not_continue_the_one_seen_is_kept_as_evidence(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 7)
        pair.park.log.publish()
        await pair.works.prover.once()
        await with_receipts(pair, 7)
        pair.park.log.publish()
        forged = sign_checkpoint(Checkpoint("88.107/log1", 7, b"\x07" * 32), a_log_signer("log of 88.107"))
        with pair.works.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM log_seen")
            WitnessUnit(connection).saw("88.107/log1", 7, b"\x07" * 32, forged.encode(), via="test", at=NOW)
        await pair.works.prover.once()
        assert pair.works.prover.forks == 1
        assert proven(pair.works) == [True] * 7 + [False] * 7
        with pair.works.database.read() as connection:
            (fork,) = WitnessUnit(connection).forks()
        assert fork.first == forged.encode()


async def test_fault_20_two_roots_of_one_size_are_a_fork(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 7)
        pair.park.log.publish()
        forged = sign_checkpoint(Checkpoint("88.107/log1", 7, b"\x07" * 32), a_log_signer("log of 88.107"))
        with pair.works.database.write() as connection:
            WitnessUnit(connection).saw("88.107/log1", 7, b"\x07" * 32, forged.encode(), via="test", at=NOW)
        await pair.works.prover.once()
        assert pair.works.prover.forks == 1
        assert not any(proven(pair.works))


async def test_an_older_checkpoint_of_the_same_history_is_believed(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 5)
        pair.park.log.publish()
        old = pair.park.proofs.proofs(WORKS, [b64u(row.env) for row in pair.works.sent("register")])
        await with_receipts(pair, 300)
        pair.park.log.publish()
        await pair.works.prover.once()
        with pair.works.database.write() as connection:
            connection.exec_driver_sql("UPDATE exchange_out SET proof = NULL WHERE seq <= 5")
        pair.park.proofs.proofs = lambda peer, envs: old
        await pair.works.prover.once()
        assert all(proven(pair.works))


async def test_proofs_are_made_for_whoever_sent_the_envelopes_and_for_nobody_else(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 3)
        envs = [b64u(row.env) for row in pair.works.sent("register")]
        with pytest.raises(NotFoundError):
            pair.park.proofs.proofs(WORKS, envs)
        pair.park.log.publish()
        told = pair.park.proofs.proofs(WORKS, [*envs, "no hash", b64u(bytes(32))])
        assert set(told["proofs"]) == set(envs)
        assert pair.park.proofs.proofs(Prefix.parse("88.107.1002"), envs)["proofs"] == {}
        assert len(pair.park.proofs.proofs(WORKS, envs * 1_000)["proofs"]) <= 3


async def test_each_lie_about_a_place_is_found(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 6)
        pair.park.log.publish()
        rows = pair.works.sent("register")
        answer = pair.park.proofs.proofs(WORKS, [b64u(row.env) for row in rows])
        signed = open_checkpoint(answer["checkpoint"].encode(), pair.works.proofs.key(WORKS, PARK))
        told = answer["proofs"]
        assert len(check_proofs(rows, told, signed)) == 6
        first, second = (b64u(row.env) for row in rows[:2])
        for lie in (
            {first: told[second]},
            {first: {**told[first], "index": "0"}},
            {first: {**told[first], "hashes": told[first]["hashes"][:-1]}},
            {first: {**told[first], "hashes": ["AAAA"]}},
            {first: {**told[first], "hashes": ["!"]}},
            {first: {**told[first], "hashes": [7]}},
            {first: {**told[first], "hashes": told[first]["hashes"] * 40}},
            {first: "no proof"},
        ):
            with pytest.raises(HazlinkError):
                check_proofs(rows, {**told, **lie}, signed)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"checkpoint": 1, "proofs": {}},
        {"checkpoint": "x", "proofs": []},
        {"checkpoint": "x\n", "proofs": {}},
    ],
)
async def test_an_answer_that_cannot_be_read_proves_nothing(tmp_path, answer):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 3)
        pair.park.proofs.proofs = lambda peer, envs: answer
        await pair.works.prover.once()
        assert not any(proven(pair.works))


async def test_a_childs_log_is_proven_by_the_mirror_that_is_kept_of_it(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.park.write("control", *({"n": n} for n in range(4)), aud=WORKS)
        pair.park.sealer.seal("control", 10)
        await pair.works.poller.once(WORKS, PARK, "control")
        pair.works.log.publish()
        await pair.park.prover.once()
        rows = pair.park.sent("control", WORKS)
        assert not any(row.proof is not None for row in rows)
        _mirror(pair, mirrored=2)
        await pair.park.prover.once()
        assert [row.proof for row in pair.park.sent("control", WORKS)] == [b"", b"", None, None]
        assert pair.park.proofs.proof(rows[0]) is None
        _mirror(pair, mirrored=4, last=b"another leaf")
        await pair.park.prover.once()
        assert [row.proof for row in pair.park.sent("control", WORKS)] == [b"", b"", None, None]


def _mirror(pair, *, mirrored, last=None):
    """What a witness does, without its checks."""
    from federation.log.reading import LogReader
    from federation.log.storage import LogUnit

    reader = LogReader(pair.works.database)
    note = reader.checkpoint()
    key = pair.park.proofs.key(PARK, WORKS)
    with pair.works.database.read() as connection:
        leaves = LogUnit(connection).leaves(0, mirrored)
    with pair.park.database.write() as connection:
        unit = WitnessUnit(connection)
        row = unit.get(key.name) or unit.begin(key.name, key.vkey, note.root, NOW)
        unit.forget(row.id, 0)
        unit.mirror(row.id, 0, [*leaves[:-1], last or leaves[-1]])
        unit.set(replace(row, size=note.size, root=note.root, note=note.note, mirrored=mirrored))


async def test_fault_nothing_is_deleted_before_its_time_or_without_a_proof(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 4)
        pair.park.log.publish()
        await pair.works.prover.once()
        await with_receipts(pair, 2)
        pair.works.clock.time += 91 * 86_400
        await pair.works.prover.once()
        assert [row.seq for row in pair.works.sent("register")] == [5, 6]
        with pair.works.database.read() as connection:
            assert ProofUnit(connection).count_unproven() == 2


async def test_bodies_go_with_the_last_envelope_that_names_them(tmp_path):
    async with a_pair(tmp_path) as pair:
        pair.works.write("register", b"one", b"two")
        async with pair.works.running():
            await pair.settled("register")
        pair.park.log.publish()
        await pair.works.prover.once()
        with pair.works.database.write() as connection:
            assert ProofUnit(connection).prune(NOW + 10, 1) == 1
            assert connection.exec_driver_sql("SELECT count(*) FROM exchange_out_body").scalar() == 1


async def test_a_checkpoint_of_another_log_is_refused(tmp_path):
    async with a_pair(tmp_path) as pair:
        await with_receipts(pair, 2)
        pair.park.log.publish()
        note = pair.park.proofs.proofs(WORKS, [])["checkpoint"].encode()
        assert open_checkpoint(note, pair.works.proofs.key(WORKS, PARK)).checkpoint.size == 2
        with pytest.raises(UntrustedError):
            open_checkpoint(note, pair.park.proofs.key(PARK, WORKS))


def test_proofs_and_checkpoints_are_stored_on_each_kind_of_database(database, tmp_path):
    side = a_side(database, tmp_path, WORKS, MovedClock(), superior=PARK)
    side.write("register", {"n": 1}, {"n": 2}, {"n": 3})
    side.sealer.seal("register", 10)
    rows = side.sent("register")
    acks = [Acknowledgement(row.seq, b"receipt", "accepted", "ok", row.seq, 9) for row in rows]
    with database.write() as connection:
        SendingUnit(connection).acknowledge(rows[0].lane, 1, acks, NOW)
        unit = ProofUnit(connection)
        assert unit.unproven_pairs() == [(WORKS, PARK)]
        assert unit.count_unproven() == 3
        unit.put_checkpoint("88.107/log1", 7, b"note", NOW)
        unit.put_checkpoint("88.107/log1", 7, b"again", NOW)
        unit.store([Proven(row.env, b"\x00" * 64, 7, "88.107/log1") for row in rows[:2]])
        unit.store([])
    with database.read() as connection:
        unit = ProofUnit(connection)
        assert [row.seq for row in unit.unproven(WORKS, PARK, 10)] == [3]
        assert unit.checkpoint("88.107/log1", 7) == b"note"
    found = side.sent("register")
    assert [(row.outcome, row.leaf_index, row.acked_at) for row in found] == [
        ("accepted", n, NOW) for n in (1, 2, 3)
    ]
    assert [(row.proof, row.proof_size, row.proof_origin) for row in found[:2]] == [
        (b"\x00" * 64, 7, "88.107/log1")
    ] * 2
    proof = side.proofs.proof(found[0])
    assert (proof.index, proof.hashes, proof.checkpoint) == (1, (bytes(32), bytes(32)), b"note")
    with database.write() as connection:
        nothing = [Acknowledgement(1, b"receipt", "retry", "gap", None, 9)]
        SendingUnit(connection).acknowledge(rows[0].lane, 1, nothing, NOW)
    assert side.sent("register")[0].leaf_index is None
    side.executor.shutdown()
    side.urgent.shutdown()
