"""Which key of a joined prefix is in use: the first its superior's newest delegation names, if it is one of ours.

Rules:

- it is the key in use, or the one a rotation asked for;
- or, after a restore from a backup that is older than a rotation, another one of the key folder, which is never
  restored: whatever the superior names and this node can sign with is its key;
- but no key that serves another use here: not that of the log, not another prefix's.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace

from registry.delegation import Home, HomeState
from registry.errors import HazlinkError, UntrustedError
from registry.identifier import Prefix
from registry.prefixes.homes import Keys
from registry.prefixes.office import Office
from registry.trust.chain import VerifiedChain
from registry.trust.encoding import from_b64u
from registry.trust.statement import Statement, StatementKey, read

__all__ = ["KEY_FOREIGN", "hold", "key_in_use"]

#: Code of the refusal of a key that is not here.
KEY_FOREIGN = "registry.prefixes.key_foreign"


def key_in_use(
    chain: VerifiedChain, home: Home, superior: Prefix, *, keys: Keys, others: Iterable[Home]
) -> str:
    """Return the thumbprint of the key in use, which must be one of ours.

    Args:
        chain: of the prefix, verified.
        home: as it is known here.
        superior: who must have signed the leaf.
        keys: the key folder.
        others: every home of this node.

    Raises:
        UntrustedError: the chain is not the prefix's, or names a key that is not ours.
    """
    leaf: Statement = chain.leaf
    if leaf.subject != home.prefix or leaf.issuer != superior:
        raise UntrustedError(
            "registry.prefixes.chain_other", field="chain", prefix=home.prefix.key, value=leaf.subject.key
        )
    named = leaf.keys[0]
    if named.kid in (home.kid, home.next_kid):
        return named.kid
    taken = {kid for other in others if other.prefix != home.prefix for kid in (other.kid, other.next_kid)}
    free = named.use == "sig" and named.kid not in taken and not _serves_log(named, leaf, home)
    if not free or named.kid not in keys.kids():
        raise UntrustedError(KEY_FOREIGN, field="chain", prefix=home.prefix.key, value=named.kid)
    return named.kid


def hold(office: Office, prefix: Prefix, reason: HazlinkError) -> None:
    """Sign nothing more for a prefix until its superior names a key that is here; see `Joining.hold`."""
    said = f"{reason.message('zh')} / {reason.message('en')}"
    with office.store.write() as unit:
        home = office.homed(unit, prefix)
        if home.state is HomeState.ACTIVE:
            unit.put_home(replace(home, state=HomeState.SUSPENDED, reason=said))
            office.note(unit, prefix, prefix.key, "held", {"reason": said})
    office.homes.refresh()


def _serves_log(named: StatementKey, leaf: Statement, home: Home) -> bool:
    """Say whether a key is that of this node's log, as the present or the newest delegation carries it."""
    said = [leaf, *map(read, home.chain[:1])]
    public = from_b64u(str(named.public.jwk.get("x", ""))) or b""
    texts = [one.endpoints.log_vkey for one in said if one.endpoints.log_vkey]
    return any(public and _bytes(text.rpartition("+")[2]).endswith(public) for text in texts)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
