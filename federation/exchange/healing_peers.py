"""The ways a healing needs to other nodes: to receivers and superiors, and to the mirrors of witnesses."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import orjson

from federation.exchange import epoch as epochs
from federation.exchange.peers import Peers
from federation.exchange.reaching import Reaching
from federation.exchange.returning import Returned
from federation.exchange.sealing import Speakers
from federation.exchange.storage.sending import LaneName
from federation.log.witness_client import WitnessClient
from federation.marks.content import CheckpointMark
from registry.clock import Clock
from registry.errors import ForbiddenError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import strict_json
from registry.trust.algorithms import PublicKey
from registry.trust.claims import Claims
from registry.trust.historical import KeyHistory, read_history
from registry.trust.statement import read
from resolver.pool import in_pool

__all__ = ["HomeKeys", "PeerReceivers", "WitnessMirror"]

_CHANNEL = "healing"
_MAX_TOKEN = 8_192


class HomeKeys:
    """The public keys of the homed prefixes, from their chains and lists of keys; implements `recovery.OwnKeys`."""

    def __init__(self, speakers: Speakers, history: Callable[[Prefix], str | None] | None = None) -> None:
        """Take the parts.

        Args:
            speakers: the chains of this node.
            history: returns the signed list of all keys of a prefix, verified when it was stored; None: none is kept.
        """
        self._speakers = speakers
        self._history = history
        self._read: tuple[str, KeyHistory] | None = None

    def own(self, prefix: Prefix, kid: str, at: float) -> PublicKey:
        """Return the key with which `prefix` signed something at the time `at`.

        Raises:
            UntrustedError: neither its statement nor the list of its former keys names such a key, or not for that
                time.
        """
        chain = self._speakers.chain(prefix)
        row = read(chain[0]).key(kid) if chain else None
        if row is None or row.use != "sig":
            listed = self._listed(prefix)
            if listed is not None:
                return listed.signing_key(kid, at)
            raise UntrustedError(
                "registry.trust.kid_unknown", field="kid", value=kid[:64], subject=prefix.key
            )
        if not row.good_at(at):
            raise UntrustedError(
                "registry.trust.key_not_in_use", field="kid", value=kid, subject=prefix.key, at=int(at)
            )
        return row.public

    def _listed(self, prefix: Prefix) -> KeyHistory | None:
        token = self._history(prefix) if self._history is not None else None
        if token is None:
            return None
        known = self._read
        if known is None or known[0] != token:
            known = self._read = (token, read_history(token))
        return known[1]


class PeerReceivers:
    """Receivers and superiors over HTTPS; implements `healing.Receivers`."""

    def __init__(
        self, *, peers: Peers, reaching: Reaching, speakers: Speakers, clock: Clock, executor: Executor
    ) -> None:
        """Take the parts.

        Args:
            peers: the connections.
            reaching: who is where.
            speakers: the keys of this node; a superior homed here consents with its own.
            clock: the time.
            executor: for blocking calls.
        """
        self._peers = peers
        self._reaching = reaching
        self._speakers = speakers
        self._clock = clock
        self._executor = executor

    def reaches(self, lane: LaneName) -> bool:
        """Say whether the receiver of a lane is another node that this one connects to."""
        reach = self._reaching.find(lane.iss, lane.aud)
        return reach is not None and not reach.local

    def superiors(self) -> list[tuple[Prefix, Prefix]]:
        """Return (own prefix, superior) for every prefix whose superior is another node's."""
        return self._reaching.superiors()

    async def sent(self, lane: LaneName, epoch: int, after: int) -> Sequence[Returned]:
        """Return envelopes of ours behind number `after` of an epoch.

        Raises:
            MalformedError: the answer cannot be read.
            UnavailableError: the receiver does not answer.
        """
        peer = self._peers.above(lane.iss, lane.aud)
        path = f"exchange/{lane.stream}/sent?epoch={epoch}&after={after}"
        reply = await peer.ask("GET", path, channel=_CHANNEL)
        return [_returned(line) for line in reply.lines()]

    async def countersign(self, iss: Prefix, statement: str) -> str:
        """Get the consent of the superior of `iss`; the top, which has none, stands for itself.

        Raises:
            HazlinkError: it does not consent, or does not answer.
        """
        superior = self._reaching.superior(iss)
        if superior is None or (iss, superior) not in self._reaching.superiors():
            return await in_pool(self._executor, self._consent, superior or iss, statement)
        peer = self._peers.above(iss, superior)
        form = orjson.dumps({"statement": statement})
        reply = await peer.ask("POST", "exchange/epochs", channel=_CHANNEL, content=form)
        content = strict_json.loads(reply.body)
        if not isinstance(content, dict):
            raise MalformedError("federation.exchange_sending.answer", field="epochs")
        consent = Claims(content).text("countersignature", _MAX_TOKEN)
        epochs.require_pair(epochs.read(statement), epochs.read_countersignature(consent), superior)
        return consent

    def _consent(self, superior: Prefix, statement: str) -> str:
        signer, _ = self._speakers.signer_for(superior)
        said = epochs.read(statement)
        return epochs.countersign(signer, said, iss=superior, iat=int(self._clock.now()))


class WitnessMirror:
    """A witness over HTTPS; implements `healing.Mirror`."""

    def __init__(self, client: WitnessClient) -> None:
        self._client = client

    async def checkpoint(self) -> CheckpointMark | None:
        """Return the newest checkpoint it cosigned; None when it has none of this log.

        Raises:
            UntrustedError: a signature does not hold.
            UnavailableError: it does not answer.
        """
        try:
            signed = await self._client.checkpoint()
        except ForbiddenError:
            return None
        return CheckpointMark(signed.checkpoint.size, signed.checkpoint.root)

    async def entries(self, first: int) -> Sequence[bytes]:
        """Return leaves from `first` on; nothing at the end, and where it mirrors nothing.

        Raises:
            UnavailableError: it does not answer.
        """
        try:
            return await self._client.entries(first)
        except ForbiddenError:
            return []


def _returned(line: bytes) -> Returned:
    content = strict_json.loads(line)
    if not isinstance(content, dict):
        raise MalformedError("federation.exchange_sending.answer", field="sent")
    token, receipt = content.get("token"), content.get("receipt")
    if not isinstance(token, str) or not isinstance(receipt, str):
        raise MalformedError("federation.exchange_sending.answer", field="sent")
    return Returned(token.encode("ascii", "replace"), receipt)
