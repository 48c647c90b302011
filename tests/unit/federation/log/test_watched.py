from federation.log.note import COSIGNATURE, key_of
from federation.log.watched import KnownLogs, log_digest, owner_of
from registry.identifier import Prefix
from tests.support.log import a_log_signer

A, B, C = (Prefix.parse(text) for text in ("88.107.1001", "88.107.1002", "88.107.1003"))
MINE = key_of("88.107.1001/log1", a_log_signer("a")).vkey
THEIRS = key_of("88.107.1002/log1", a_log_signer("b")).vkey


def test_a_log_belongs_to_the_prefix_its_name_begins_with_and_to_those_homed_beside_it():
    known = KnownLogs()
    known.replace([(A, MINE), (C, MINE), (B, THEIRS), (B, "no key")], mirror=[A])
    log = known.find("88.107.1001/log1")
    assert log.owners == {A, C}
    assert log.mirror
    assert not known.find("88.107.1002/log1").mirror
    assert known.find_digest(log_digest("88.107.1001/log1")) is log
    assert known.find("88.107.1003/log1") is None
    assert known.find_digest("0" * 64) is None


def test_nobody_speaks_for_the_log_of_another():
    known = KnownLogs()
    forged = key_of("88.107.1001/log1", a_log_signer("thief")).vkey
    known.replace([(A, MINE), (B, forged)])
    log = known.find("88.107.1001/log1")
    assert [key.vkey for key in log.keys] == [MINE]
    assert log.owners == {A}
    known.replace([(B, forged)])
    assert known.find("88.107.1001/log1") is None


def test_while_a_key_is_rotated_both_count_and_a_witness_key_never_does():
    known = KnownLogs()
    other = key_of("88.107.1001/log1", a_log_signer("next")).vkey
    cosigner = key_of("88.107.1001/log1", a_log_signer("a"), kind=COSIGNATURE).vkey
    known.replace([(A, MINE), (A, other), (A, cosigner)])
    assert [key.vkey for key in known.find("88.107.1001/log1").keys] == [MINE, other]


def test_a_name_tells_its_owner():
    assert owner_of("88.107/log1") == Prefix.parse("88.107")
    assert owner_of("log1") is None
    assert owner_of("no such prefix/log1") is None
