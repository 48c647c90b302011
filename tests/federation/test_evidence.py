"""Years later: the nodes, their databases and three generations of keys are gone, and a file still proves it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from federation.evidence import verifier
from federation.evidence.bundle import SignedList
from registry.identifier import Prefix
from registry.trust.historical import HistoricalKey, issue_history
from registry.trust.keys import KeySigner
from registry.trust.revocation import LastGood, Reason, Revoked, issue_revocation
from registry.trust.root import make_root
from registry.trust.statement import Endpoints, StatementKey
from tests.bench._exchange import AUD, ISS, STREAM
from tests.support.evidence_books import TOP, Both, Known, books
from tests.support.trust import ALGS, DAY, Chain, Root, a_signer, a_statement

_YEAR = 365 * DAY


def _key(name: str, generation: int) -> KeySigner:
    """The key of a prefix in one generation; the first is the one that signed what is proved."""
    return a_signer(name if generation == 0 else f"{name} {generation}")


def _roots(both: Both, generations: int) -> list[str]:
    """The successors of the first root, one a year; each by its own key and the one before."""
    return [
        make_root(
            [_key("root", number), _key("root", number - 1)],
            1,
            algs=ALGS,
            iat=both.now + number * _YEAR,
            exp=both.now + (number + 5) * _YEAR,
            ver=number + 1,
            keys=[_key("root", number)],
        )
        for number in range(1, generations + 1)
    ]


def _renewed(both: Both, generation: int) -> Chain:
    """The chains of a later generation: other keys at every tier, but the log goes on with its own."""
    at = both.now + generation * _YEAR
    made = {}
    for name, above in ((TOP, None), (AUD.key, TOP), (ISS.key, AUD.key)):
        old = both.tree.verified(name, now=both.now).leaf
        log = next(row for row in old.keys if row.use == "log")
        made[name] = a_statement(
            name,
            above,
            signer=_key(above or "root", generation),
            keys=(StatementKey.of(_key(name, generation), nbf=at), log),
            endpoints=Endpoints(log_vkey=old.endpoints.log_vkey),
            iat=at,
            nbf=at,
            exp=at + 90 * DAY - len(name),
            ver=generation + 1,
        )
    root = Root(both.tree.root.signers, both.tree.root.text, both.tree.root.document, both.tree.root.anchor)
    return Chain(root, both.tree.prefixes, made, {name: _key(name, generation) for name in made})


def _after_rotations(both: Both, generations: int) -> Known:
    """What a node knows then: new roots, new chains, the lists of old keys, and that the old ones are superseded."""
    later = _renewed(both, generations)
    at = both.now + generations * _YEAR + 60
    known = Known(later, later_roots=_roots(both, generations))
    for name, above in ((AUD.key, TOP), (ISS.key, AUD.key)):
        keys = [
            HistoricalKey(
                kid=_key(name, number).kid,
                alg="Ed25519",
                jwk=_key(name, number).jwk,
                use="sig",
                iat=both.now - 3600 + number * _YEAR,
                exp=both.now + (number + 1) * _YEAR,
            )
            for number in range(generations)
        ]
        signer, chain = _key(above, generations), later.tokens_of(above)
        history = issue_history(
            signer, issuer=Prefix(above), subject=Prefix(name), ver=generations, iat=at, keys=keys
        )
        known.histories[name] = SignedList(history, chain)
        gone = Revoked(
            _key(name, 0).kid, both.now + _YEAR, Reason.SUPERSEDED, {STREAM: LastGood(epoch=1, seq=5)}
        )
        revoked = issue_revocation(
            signer, issuer=Prefix(above), ver=1, iat=at, exp=at + 30 * DAY, revoked=[gone]
        )
        known.revoked[above] = SignedList(revoked, chain)
    return known


def _asked(folder: Path, copy: Path, data: bytes, anchor: str) -> tuple[int, dict[str, object]]:
    """Run the copied verifier in a process that can see nothing of the program."""
    file = folder / "evidence.json"
    file.write_bytes(data)
    said = subprocess.run(
        [sys.executable, "-I", str(copy), str(file), "--anchor", anchor, "--json"],
        capture_output=True,
        cwd=folder,
        env={"PATH": os.environ.get("PATH", "")},
        check=False,
    )
    return said.returncode, json.loads(said.stdout)


@pytest.mark.slow
def test_fault_22_after_three_rotations_the_file_alone_says_who_sent_what_when(tmp_path: Path) -> None:
    nodes, court = tmp_path / "nodes", tmp_path / "court"
    nodes.mkdir()
    court.mkdir()
    copy = Path(shutil.copy(verifier.__file__, court / "verifier.py"))
    with books(nodes) as both:
        known = _after_rotations(both, 3)
        for exporter in (both.at_sender, both.at_receiver):
            exporter._vouchers = known
        files = [one.export(both.envs[2]).data for one in (both.at_sender, both.at_receiver)]
        anchor, expected = both.tree.root.fingerprint, both.envs[2]
    shutil.rmtree(nodes)

    for data in files:
        status, told = _asked(court, copy, data, anchor)
        assert status == 0, told
        facts = told["facts"]
        assert isinstance(facts, dict)
        assert (facts["sender"], facts["receiver"], facts["env"]) == (ISS.key, AUD.key, expected)
        assert len(json.loads(data)["roots"]) == 4

        for place in range(7, len(data), len(data) // 12):
            broken = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            status, told = _asked(court, copy, broken, anchor)
            assert status != 0
            assert told["holds"] is False


def test_fault_06_after_rotations_only_what_lies_before_the_last_position_is_proved(tmp_path: Path) -> None:
    with books(tmp_path) as both:
        known = _after_rotations(both, 1)
        revoked = known.revoked[AUD.key]
        both.at_receiver._vouchers = known
        assert both.at_receiver.export(both.envs[4]).finding.holds

        gone = Revoked(
            _key(ISS.key, 0).kid, both.now + _YEAR, Reason.SUPERSEDED, {STREAM: LastGood(epoch=1, seq=4)}
        )
        at = both.now + _YEAR + 90
        token = issue_revocation(_key(AUD.key, 1), issuer=AUD, ver=2, iat=at, exp=at + DAY, revoked=[gone])
        known.revoked[AUD.key] = SignedList(token, revoked.chain)

        assert both.at_receiver.export(both.envs[3]).finding.holds
        data = both.at_receiver.export(both.envs[3]).data
        last = json.loads(data)["revocations"]
        known.revoked[AUD.key] = revoked
        whole = both.at_receiver.export(both.envs[4]).data
        found = verifier.verify(whole, both.tree.root.fingerprint, revocations=last)
        assert found.error is not None
        assert found.error.code == "beyond"
