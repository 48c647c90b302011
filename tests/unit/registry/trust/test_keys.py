import os
import stat
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from registry.errors import ExistsError, InvalidValueError, UnavailableError, UntrustedError
from registry.trust.algorithms import admit
from registry.trust.encoding import b64u
from registry.trust.keys import KeyFolder, KeySigner
from tests.support.trust import ALGS


def pem_of(key, passphrase=None):
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def reason(kind, act, *args, **kwargs):
    with pytest.raises(kind) as refused:
        act(*args, **kwargs)
    assert refused.value.message("zh") != refused.value.message("en")
    return refused.value.code.removeprefix("registry.trust.")


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
@pytest.mark.parametrize("alg", ALGS)
def test_a_created_key_is_loaded_again_and_signs_the_same_way(tmp_path, alg, passphrase):
    made = KeyFolder(tmp_path / "keys", passphrase).create(alg)
    folder = KeyFolder(tmp_path / "keys", passphrase)
    loaded = folder.load(made.kid)
    assert (loaded.kid, loaded.alg, loaded.jwk) == (made.kid, alg, made.jwk)
    assert admit(made.jwk, ALGS).verify(b"data", loaded.sign(b"data"))
    assert folder.kids() == (made.kid,)


def test_files_and_folder_are_closed_to_others_and_nothing_is_left_beside_them(tmp_path):
    made = KeyFolder(tmp_path / "keys").create()
    file = tmp_path / "keys" / f"{made.kid}.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_passphrase_keeps_the_key_out_of_the_file(tmp_path):
    made = KeyFolder(tmp_path, b"secret").create()
    assert b"ENCRYPTED PRIVATE KEY" in (tmp_path / f"{made.kid}.pem").read_bytes()
    assert reason(UnavailableError, KeyFolder(tmp_path, b"wrong").load, made.kid) == "key_passphrase"
    assert reason(UnavailableError, KeyFolder(tmp_path).load, made.kid) == "key_locked"
    assert reason(InvalidValueError, KeyFolder, tmp_path, b"") == "passphrase_empty"


def test_an_open_key_is_refused_where_a_passphrase_is_set(tmp_path):
    made = KeyFolder(tmp_path).create()
    assert reason(UntrustedError, KeyFolder(tmp_path, b"secret").load, made.kid) == "key_not_locked"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601, 0o602, 0o610, 0o620])
def test_a_file_others_can_read_is_refused(tmp_path, mode):
    made = KeyFolder(tmp_path).create()
    (tmp_path / f"{made.kid}.pem").chmod(mode)
    with pytest.raises(UntrustedError) as refused:
        KeyFolder(tmp_path).load(made.kid)
    assert refused.value.code == "registry.trust.key_file_open"
    assert refused.value.params["mode"] == f"{mode:04o}"


def test_a_file_of_somebody_else_is_refused(tmp_path, monkeypatch):
    made = KeyFolder(tmp_path).create()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert reason(UntrustedError, KeyFolder(tmp_path).load, made.kid) == "key_file_open"


def test_no_name_leads_out_of_the_folder_or_to_what_is_no_key(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    kid = KeyFolder(tmp_path / "other").create().kid
    text = (tmp_path / "other" / f"{kid}.pem").read_bytes()
    assert reason(UnavailableError, folder.load, f"../other/{kid}") == "key_missing"
    folder.create()
    for name in (b64u(bytes(31)), b64u(bytes(33)), "AAAA"):
        file = tmp_path / "keys" / f"{name}.pem"
        file.write_bytes(text)
        file.chmod(0o600)
        assert reason(UnavailableError, folder.load, name) == "key_missing"
        assert name not in folder.kids()
    (tmp_path / "keys" / kid).write_bytes(text)
    assert len(folder.kids()) == 1


def test_a_key_stands_within_the_first_bytes_of_its_file(tmp_path):
    made = KeyFolder(tmp_path).create()
    file = tmp_path / f"{made.kid}.pem"
    text = file.read_bytes().rstrip()
    file.write_bytes(b"\n" * (16_384 - len(text)) + text)
    assert KeyFolder(tmp_path).load(made.kid).kid == made.kid
    file.write_bytes(b"\n" * (16_385 - len(text)) + text)
    assert reason(UntrustedError, KeyFolder(tmp_path).load, made.kid) == "key_file_damaged"


def test_a_key_is_on_the_disk_before_it_is_used_and_nothing_stays_open(tmp_path, monkeypatch):
    flushed, opened = [], []
    real_open, real_fsync = os.open, os.fsync

    def noted_open(*args, **kwargs):
        handle = real_open(*args, **kwargs)
        opened.append(handle)
        return handle

    def noted_fsync(handle):
        state = os.fstat(handle)
        flushed.append((stat.S_ISDIR(state.st_mode), state.st_size))
        real_fsync(handle)

    monkeypatch.setattr(os, "open", noted_open)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    folder = KeyFolder(tmp_path / "far" / "keys")
    kid = folder.create().kid
    size = (tmp_path / "far" / "keys" / f"{kid}.pem").stat().st_size
    assert [is_folder for is_folder, _ in flushed] == [False, True]
    assert flushed[0] == (False, size)
    folder.load(kid)
    assert len(opened) == 3
    for handle in opened:
        with pytest.raises(OSError):
            os.fstat(handle)


def test_a_link_a_folder_and_a_missing_file_are_refused(tmp_path):
    folder = KeyFolder(tmp_path)
    kid = KeyFolder(tmp_path / "other").create().kid
    assert reason(UnavailableError, folder.load, kid) == "key_missing"
    assert reason(UnavailableError, folder.load, "../other/x") == "key_missing"
    (tmp_path / f"{kid}.pem").symlink_to(tmp_path / "other" / f"{kid}.pem")
    assert reason(UnavailableError, folder.load, kid) == "key_unreadable"
    (tmp_path / f"{kid}.pem").unlink()
    (tmp_path / f"{kid}.pem").mkdir(mode=0o700)
    assert reason(UntrustedError, folder.load, kid) == "key_file_open"


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    folder = KeyFolder(tmp_path)
    one, other = folder.create().kid, folder.create().kid
    (tmp_path / f"{one}.pem").write_bytes((tmp_path / f"{other}.pem").read_bytes())
    assert reason(UntrustedError, folder.load, one) == "key_file_other"
    (tmp_path / f"{one}.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert reason(UntrustedError, folder.load, one) == "key_file_damaged"
    (tmp_path / f"{one}.pem").write_bytes(b"")
    assert reason(UntrustedError, folder.load, one) == "key_file_damaged"


def test_files_that_are_no_keys_are_not_listed(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    assert folder.kids() == ()
    kids = sorted([folder.create().kid, *(b64u(bytes([number]) * 32) for number in range(40))])
    for kid in kids:
        (tmp_path / "keys" / f"{kid}.pem").touch()
    (tmp_path / "keys" / "notes.pem").write_text("x")
    (tmp_path / "keys" / "README").write_text("x")
    assert folder.kids() == tuple(kids)


def test_a_key_moves_from_folder_to_folder_locked(tmp_path):
    source, target = KeyFolder(tmp_path / "a", b"one"), KeyFolder(tmp_path / "b", b"two")
    made = source.create()
    pem = source.export_pem(made.kid, b"travel")
    assert b"ENCRYPTED" in pem
    assert reason(UnavailableError, target.import_pem, pem, b"wrong") == "key_passphrase"
    with pytest.raises(UnavailableError) as locked:
        target.import_pem(pem)
    assert (locked.value.code, locked.value.params["value"]) == ("registry.trust.key_locked", "pem")
    assert target.import_pem(pem, b"travel").kid == made.kid
    assert target.load(made.kid).jwk == made.jwk
    assert reason(ExistsError, target.import_pem, pem, b"travel") == "key_exists"
    assert reason(InvalidValueError, source.export_pem, made.kid, b"") == "passphrase_empty"


def test_key_types_that_are_not_admitted_are_refused(tmp_path):
    folder = KeyFolder(tmp_path)
    for key, field in (
        (rsa.generate_private_key(65537, 2048), "kid"),
        (ec.generate_private_key(ec.SECP384R1()), "key"),
    ):
        with pytest.raises(UntrustedError) as refused:
            folder.import_pem(pem_of(key))
        assert (refused.value.code, refused.value.field) == ("registry.trust.key_type", field)
        assert reason(UntrustedError, KeySigner, key) == "key_type"
    old = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"secret"),
    )
    assert reason(UntrustedError, folder.import_pem, old) == "key_file_damaged"
    unheard = bytes.fromhex("3010020100300606042a0304050403020100")  # PKCS #8 of an algorithm nobody knows
    text = b"-----BEGIN PRIVATE KEY-----\n" + b64encode(unheard) + b"\n-----END PRIVATE KEY-----\n"
    assert reason(UntrustedError, folder.import_pem, text) == "key_file_damaged"
    assert reason(UntrustedError, folder.create, "RS256") == "alg_forbidden"
    assert reason(UntrustedError, folder.create, "ML-DSA-44") == "alg_unavailable"
    assert folder.kids() == ()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert reason(UnavailableError, KeyFolder(tmp_path / "file").create) == "key_unwritable"


def test_an_interrupted_write_does_not_stand_in_the_way(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    kid = KeySigner(key).kid
    (tmp_path / f".{kid}.pem.{os.getpid()}.new").write_bytes(b"half")
    assert KeyFolder(tmp_path).import_pem(pem_of(key)).kid == kid
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{kid}.pem"]


def test_a_signer_shows_nothing_of_its_key():
    signer = KeySigner(ec.generate_private_key(ec.SECP256R1()))
    assert "d" not in signer.jwk
    assert repr(signer) == f"KeySigner(ES256, {signer.kid})"
