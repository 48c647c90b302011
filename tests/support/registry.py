"""A registry over a real database, with keys in memory."""

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.errors import NotResponsibleError
from registry.identifier import Prefix
from registry.principal import Grant, Principal, Role
from registry.service import Registry
from registry.template import load_templates
from registry.trust.keys import KeySigner

HOME = Prefix("88.107.1001")
GUEST = Prefix("88.107.1003")
TEMPLATES = load_templates()


class SteppingClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=1_800_000_000):
        self.at = now

    def now(self):
        return self.at

    def monotonic(self):
        return self.at

    async def sleep(self, seconds):
        self.at += seconds


class FixedSigners:
    """Second implementation of `registry.ports.Signers`: some prefixes, one key each."""

    def __init__(self, *prefixes):
        self.keys = {prefix: KeySigner(Ed25519PrivateKey.generate()) for prefix in prefixes}

    def homes(self, prefix):
        return any(home.contains(prefix) for home in self.keys)

    def home_of(self, prefix):
        return next((above for above in prefix.ancestors() if above in self.keys), None)

    def signer_for(self, prefix):
        home = self.home_of(prefix)
        if home is not None:
            return self.keys[home], home
        raise NotResponsibleError("registry.prefixes.not_homed", field="prefix", prefix=prefix.key)


def someone(role=Role.ADMIN, prefix=HOME, name="tester"):
    return Principal(name=name, grants=frozenset({Grant(prefix, role)}))


def a_registry(database, *, clock=None, signers=None):
    return Registry(
        database=database,
        signers=signers or FixedSigners(HOME, GUEST, Prefix("88.107")),
        templates=TEMPLATES,
        clock=clock or SteppingClock(),
        salts=os.urandom,
    )
