"""Where signing keys are kept: the folder, or a device with the folder behind it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from node.keys import DeviceKeys, open_keys
from node.settings import load
from registry.errors import InvalidValueError, NotSupportedError, UnavailableError
from registry.trust.keys import KeyFolder
from tests.support.processes import ROOT, environment

MODULES = (
    os.environ.get("HAZLINK_TEST_PKCS11_MODULE", ""),
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
MODULE = next((path for path in MODULES if path and Path(path).exists()), "")
UTILITY = os.environ.get("HAZLINK_TEST_SOFTHSM_UTIL") or which("softhsm2-util") or ""


@pytest.fixture(autouse=True)
def _no_other_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HAZLINK_"):
            monkeypatch.delenv(name)


def test_without_a_module_keys_are_files(tmp_path):
    keys = open_keys(load(tmp_path))
    made = keys.create()
    assert (tmp_path / "keys" / f"{made.kid}.pem").exists()


def test_new_keys_are_the_devices_and_old_ones_go_on(tmp_path):
    folder, device = KeyFolder(tmp_path / "keys"), KeyFolder(tmp_path / "device")
    old = folder.create()
    keys = DeviceKeys(device=device, folder=folder)
    new = keys.create("ES256")
    assert device.kids() == (new.kid,)
    assert keys.kids() == tuple(sorted((old.kid, new.kid)))
    assert [keys.load(kid).jwk for kid in (old.kid, new.kid)] == [old.jwk, new.jwk]
    with pytest.raises(UnavailableError):
        keys.load("A" * 43)


def test_a_device_that_is_away_lets_no_other_key_take_its_place(tmp_path):
    class Away:
        def create(self, alg="Ed25519"):
            raise UnavailableError("registry.trust.pkcs11_failed", field="pkcs11", reason="away")

        load = create

        def kids(self):
            return self.create()

    folder = KeyFolder(tmp_path / "keys")
    old = folder.create()
    keys = DeviceKeys(device=Away(), folder=folder)
    for ask in (keys.create, keys.kids, lambda: keys.load("A" * 43)):
        with pytest.raises(UnavailableError):
            ask()
    assert keys.load(old.kid).kid == old.kid
    assert folder.kids() == (old.kid,)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_device_needs_a_pin_that_can_be_read(tmp_path, content):
    if content is not None:
        (tmp_path / "pin").write_bytes(content)
    settings = load(tmp_path, keys={"module": "/usr/lib/none.so", "pin_file": "pin"})
    with pytest.raises(InvalidValueError) as caught:
        open_keys(settings)
    assert caught.value.field == "keys.pin_file"
    assert caught.value.message("zh") != caught.value.message("en")


def test_a_pin_file_that_is_not_named_is_refused(tmp_path):
    with pytest.raises(InvalidValueError):
        open_keys(load(tmp_path, keys={"module": "/usr/lib/none.so"}))


def test_without_the_package_a_device_cannot_be_used(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    (tmp_path / "pin").write_text("1234\n")
    with pytest.raises(NotSupportedError):
        open_keys(load(tmp_path, keys={"module": "/usr/lib/none.so", "pin_file": "pin"}))


@pytest.mark.skipif(
    not (MODULE and UTILITY and find_spec("pkcs11")), reason="SoftHSM or python-pkcs11 is not installed"
)
def test_a_node_lives_with_all_its_signing_keys_in_a_device(tmp_path):
    (tmp_path / "tokens").mkdir()
    config, pin = tmp_path / "softhsm2.conf", tmp_path / "pin"
    config.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    pin.write_text("1234\n")
    variables = environment(
        SOFTHSM2_CONF=str(config),
        HAZLINK_KEYS__MODULE=MODULE,
        HAZLINK_KEYS__TOKEN="works",
        HAZLINK_KEYS__PIN_FILE=str(pin),
    )

    def run(*words):
        done = subprocess.run(words, env=variables, cwd=ROOT, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def hazlink(*words):
        return run(sys.executable, "-m", "node", *words, "--data", str(tmp_path / "data"))

    token = ("--init-token", "--free", "--label", "works", "--so-pin", "12345678", "--pin", "1234")
    run(UTILITY, "--module", MODULE, *token)
    hazlink("init", "--root", "--prefix", "88", "--allow-loopback-peers")
    # root, prefix and log
    assert KeyFolder(tmp_path / "data" / "keys").kids() == ()
    hazlink("register", "88/PUMP-1", "--field", "URL=https://e.example")
    found = json.loads(hazlink("resolve", "88/PUMP-1", "--json"))
    assert found["outcome"] == "found"
    hazlink("rotate-key")
    hazlink("register", "88/PUMP-2", "--field", "URL=https://e.example")
    assert json.loads(hazlink("resolve", "88/PUMP-2", "--json"))["outcome"] == "found"
    assert KeyFolder(tmp_path / "data" / "keys").kids() == ()
