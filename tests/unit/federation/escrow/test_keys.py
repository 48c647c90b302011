import os

import pytest

from federation.escrow.keys import EscrowKeys, escrow_kid
from registry.errors import UnavailableError, UntrustedError


def test_the_first_key_is_made_when_it_is_asked_for_and_stays(tmp_path):
    keys = EscrowKeys(tmp_path / "escrow", b"secret")
    kid, public = keys.current()
    assert escrow_kid(public) == kid
    assert EscrowKeys(tmp_path / "escrow", b"secret").current() == (kid, public)
    assert keys.jwk(kid)["crv"] == "X25519"
    (file,) = (tmp_path / "escrow").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in file.read_bytes()


def test_the_newest_key_is_the_one_that_is_announced_and_old_ones_still_open(tmp_path):
    keys = EscrowKeys(tmp_path)
    first, _ = keys.current()
    second, _ = keys.create()
    os.utime(tmp_path / f"{first}.pem", ns=(1, 1))
    assert keys.current()[0] == second
    assert keys.load(first)


def test_a_key_that_is_missing_locked_open_or_another_is_refused(tmp_path):
    keys = EscrowKeys(tmp_path, b"secret")
    kid, _ = keys.current()
    with pytest.raises(UnavailableError):
        keys.load("../../etc/passwd")
    with pytest.raises(UnavailableError):
        keys.load("A" * 43)
    with pytest.raises(UnavailableError):
        EscrowKeys(tmp_path, b"wrong").load(kid)
    with pytest.raises(UnavailableError):
        EscrowKeys(tmp_path).load(kid)
    other, _ = keys.create()
    (tmp_path / f"{other}.pem").write_bytes((tmp_path / f"{kid}.pem").read_bytes())
    with pytest.raises(UntrustedError):
        keys.load(other)
    (tmp_path / f"{kid}.pem").chmod(0o640)
    with pytest.raises(UntrustedError):
        keys.load(kid)


def test_a_key_without_protection_where_a_passphrase_is_set_was_put_there_by_somebody_else(tmp_path):
    kid, _ = EscrowKeys(tmp_path).current()
    with pytest.raises(UntrustedError):
        EscrowKeys(tmp_path, b"secret").load(kid)
