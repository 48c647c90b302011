"""Keys in a device: against SoftHSM, where it and python-pkcs11 are installed.

`apt install softhsm2` and `pip install python-pkcs11`; a module elsewhere is named by HAZLINK_TEST_PKCS11_MODULE.
"""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from registry.errors import NotSupportedError, UnavailableError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import admit
from registry.trust.pkcs11 import Pkcs11Keys
from registry.trust.statement import StatementKey
from tests.support.trust import ALGS, NOW, a_chain

MODULES = (
    os.environ.get("HAZLINK_TEST_PKCS11_MODULE", ""),
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
MODULE = next((path for path in MODULES if path and Path(path).exists()), "")
UTILITY = os.environ.get("HAZLINK_TEST_SOFTHSM_UTIL") or which("softhsm2-util") or ""

with_device = pytest.mark.skipif(
    not (MODULE and UTILITY and find_spec("pkcs11")), reason="SoftHSM or python-pkcs11 is not installed"
)


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """A fresh token; the module reads its configuration once in a process."""
    place = tmp_path_factory.mktemp("hsm")
    (place / "tokens").mkdir()
    config = place / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {place / 'tokens'}\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    words = ["--init-token", "--free", "--label", "hazlink", "--so-pin", "12345678", "--pin", "1234"]
    subprocess.run([UTILITY, "--module", MODULE, *words], check=True, capture_output=True)
    yield Pkcs11Keys(module=MODULE, token="hazlink", pin="1234")
    os.environ.pop("SOFTHSM2_CONF")


@with_device
@pytest.mark.parametrize("alg", ALGS)
def test_a_key_is_made_in_the_device_and_signs(token, alg):
    made = token.create(alg)
    again = token.load(made.kid)
    assert (made.kid, made.alg, made.jwk) == (again.kid, alg, again.jwk)
    assert made.kid in token.kids()
    signed = jws.sign(again, "hz-test+jws", b'{"a":1}')
    jws.verify(jws.parse(signed, typ="hz-test+jws"), admit({**made.jwk, "alg": alg}, ALGS))


@with_device
def test_a_prefix_can_have_its_key_in_a_device(token):
    signer = token.create()
    key = StatementKey.of(signer, nbf=NOW - 3600)
    chain = a_chain(changed={"88.107.1001": {"keys": (key,)}}).verified()
    assert chain.signing_key(signer.kid, NOW).verify(b"data", signer.sign(b"data"))


@with_device
def test_the_key_does_not_come_out(token):
    import pkcs11

    made = token.create()
    with token._opened() as session:
        key = token._object(session, made.kid, pkcs11.ObjectClass.PRIVATE_KEY)
        assert key[pkcs11.Attribute.SENSITIVE]
        assert not key[pkcs11.Attribute.EXTRACTABLE]


@with_device
def test_what_is_not_there_is_unavailable(token):
    for kid in ("unknown", "A" * 43):
        with pytest.raises(UnavailableError):
            token.load(kid)
    for other in (
        Pkcs11Keys(module=MODULE, token="nobody", pin="1234"),
        Pkcs11Keys(module=MODULE + ".missing", token="hazlink", pin="1234"),
    ):
        with pytest.raises(UnavailableError):
            other.kids()


@with_device
def test_a_confused_device_signs_nothing_in_our_name(token, monkeypatch):
    signer = token.create()
    monkeypatch.setattr(Pkcs11Keys, "sign", lambda *_: bytes(64))
    with pytest.raises(UnavailableError):
        signer.sign(b"data")


@with_device
def test_algorithms_no_device_is_asked_for(token):
    with pytest.raises(NotSupportedError):
        token.create("SM2-SM3")
    with pytest.raises(UntrustedError):
        token.create("none")


def test_without_the_package_the_refusal_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("registry.trust.pkcs11.import_module", missing)
    with pytest.raises(NotSupportedError) as refused:
        Pkcs11Keys(module="m", token="t", pin="p")
    assert refused.value.code == "registry.trust.pkcs11_package"
