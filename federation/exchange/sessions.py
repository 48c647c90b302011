"""Sessions: how another node proves which prefix it speaks for, and which copy of it that is.

It shows the chain of its prefix and signs a nonce of ours with that prefix's key, for the prefix here that it wants
to talk to. What it gets is a token of a few minutes (ADR 8). Rules:

- the two prefixes lie above one another: nobody else has anything to exchange;
- a prefix that is suspended or revoked gets no session;
- of two copies of one node only the one with the greater fencing number gets one, so that two of them cannot both
  talk; the numbers begin anew when the key that the other copy showed is no longer its prefix's: a hand-over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from federation.exchange.chains import Chains
from federation.exchange.checks import Judge
from federation.exchange.handlers import Handlers
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.rows import Session
from registry.clock import Clock
from registry.errors import (
    ConflictError,
    ForbiddenError,
    MalformedError,
    NotResponsibleError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import jws
from registry.trust.chain import MAX_LENGTH, VerifiedChain
from registry.trust.claims import Claims
from registry.trust.encoding import from_b64u
from registry.trust.possession import POSSESSION_TYPE, verify_possession
from registry.trust.refusal import as_kind, as_unauthenticated

__all__ = ["HomedPrefixes", "Nonces", "Opened", "PeerTokens", "Sessions", "read_chain"]

_INSTANCE_BYTES = 16
_MAX_TOKEN = 65_536
_MAX_POSSESSION = 4_096


class PeerTokens(Protocol):
    """Issues the tokens that stand for a session.

    Consistency: a token holds at once, in every process of the node. Concurrency: any number of threads. Errors:
    none.
    """

    def issue(self, prefix: Prefix, fence: int) -> tuple[str, int]:
        """Return a token for a session with this fencing number, and its life in seconds."""
        ...


class Nonces(Protocol):
    """The nonces this node gave out.

    Consistency: of two callers with one nonce, one is refused. Durability: a nonce that was used stays used.
    Concurrency: any number of threads and processes. Errors: as said.
    """

    def use_nonce(self, nonce: str) -> None:
        """Use a nonce up.

        Raises:
            UnauthenticatedError: not ours, too old, or used before.
        """
        ...


class HomedPrefixes(Protocol):
    """Which prefixes this node answers for; `registry.prefixes.homes.Homes` is one.

    Consistency: as of the last refresh. Concurrency: any number of threads. Errors: none.
    """

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A session.

    Attributes:
        token: to be shown as a bearer token.
        expires_in: seconds until a new session is needed.
        understands: type → schemas this node has handlers for.
        credit: envelopes it takes in one batch.
    """

    token: str
    expires_in: int
    understands: Mapping[str, list[str]]
    credit: int

    def to_form(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "token": self.token,
            "expires_in": self.expires_in,
            "understands": dict(self.understands),
            "credit": self.credit,
        }


def read_chain(claims: Claims, name: str = "chain") -> tuple[str, ...]:
    """Read a chain out of a JSON form; syntax only.

    Raises:
        MalformedError: not an array of one to eight texts.
    """
    found = claims.array(name, most=MAX_LENGTH)
    if not found or not all(isinstance(item, str) and 0 < len(item) <= _MAX_TOKEN for item in found):
        raise MalformedError(
            "registry.trust.claim_type", field=claims.where(name), right="array of texts (1–8)"
        )
    return tuple(found)


class Sessions:
    """Opens sessions for the nodes above and below.

    Consistency: the fencing numbers are in the database, one row for each prefix. Concurrency: any number of threads
    and processes.
    """

    def __init__(
        self,
        *,
        database: Database,
        chains: Chains,
        homes: HomedPrefixes,
        nonces: Nonces,
        tokens: PeerTokens,
        handlers: Handlers,
        clock: Clock,
        credit: int,
        judge: Judge | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: where the newest copy of each peer is remembered.
            chains: verifies what a peer shows.
            homes: the prefixes of this node.
            nonces: the nonces this node gave out.
            tokens: issues what the peer shows from then on.
            handlers: what this node understands.
            clock: the time.
            credit: envelopes taken in one batch.
            judge: what is known against keys.
        """
        self._database = database
        self._chains = chains
        self._homes = homes
        self._nonces = nonces
        self._tokens = tokens
        self._handlers = handlers
        self._clock = clock
        self._credit = credit
        self._judge = judge

    def open(self, form: Mapping[str, Any]) -> Opened:
        """Open a session.

        Args:
            form: `{"prefix", "chain", "possession", "instance", "fence"}`.

        Raises:
            MalformedError: the form cannot be read.
            UnauthenticatedError: the chain does not hold, or possession of its key is not proven.
            ForbiddenError: the prefix is suspended or revoked, or has nothing to exchange with the one it addresses.
            NotResponsibleError: the prefix it addresses is not homed here.
            ConflictError: another copy of this node talks to us.
        """
        claims = Claims(form)
        prefix = Prefix.parse(claims.text("prefix"), field="prefix")
        instance = from_b64u(claims.text("instance", 64))
        if instance is None or len(instance) != _INSTANCE_BYTES:
            raise MalformedError(
                "federation.exchange_receiving.instance", field="instance", right=_INSTANCE_BYTES
            )
        fence = claims.integer("fence")
        tokens, possession = read_chain(claims), claims.text("possession", _MAX_POSSESSION)
        now = self._clock.now()
        with as_unauthenticated():
            chain = self._chains.take(prefix, tokens)
            chain.require_fresh(now)
        self._require_active(chain)
        kid = self._proven(chain, prefix, possession, now)
        self._fenced(chain, prefix, Session(instance, fence, kid), now)
        token, seconds = self._tokens.issue(prefix, fence)
        return Opened(token, seconds, self._handlers.understands(), self._credit)

    def fence(self, prefix: Prefix) -> int | None:
        """Return the fencing number of the newest session of a prefix; None when it never had one.

        Raises:
            UnavailableError: the database cannot be read.
        """
        with self._database.read() as connection:
            known = ReceivedUnit(connection).session(prefix.key)
        return known.fence if known else None

    def _require_active(self, chain: VerifiedChain) -> None:
        try:
            chain.require_active()
        except UntrustedError as error:
            raise as_kind(error, ForbiddenError) from error

    def _proven(self, chain: VerifiedChain, prefix: Prefix, possession: str, now: float) -> str:
        """Check possession, use the nonce up, and return the thumbprint of the key shown."""
        with as_unauthenticated():
            parsed = jws.parse(possession, typ=POSSESSION_TYPE, max_bytes=_MAX_POSSESSION)
            key = chain.signing_key(parsed.kid, now)
            if self._judge is not None:
                self._judge(chain, parsed.kid, None)
            audience = Prefix.parse(Claims(parsed.claims()).text("aud"), field="aud")
        nonce = verify_possession(
            possession, key, audience=audience.handle.text, subject=prefix.handle.text, now=now
        )
        if not self._homes.answers_for(audience):
            raise NotResponsibleError("registry.prefixes.not_homed", field="aud", prefix=audience.key)
        if audience == prefix or not (audience.contains(prefix) or prefix.contains(audience)):
            raise ForbiddenError(
                "federation.exchange_receiving.not_in_line",
                field="prefix",
                value=prefix.key,
                right=audience.key,
            )
        self._nonces.use_nonce(nonce)
        return parsed.kid

    def _fenced(self, chain: VerifiedChain, prefix: Prefix, shown: Session, now: float) -> None:
        with self._database.write() as connection:
            unit = ReceivedUnit(connection)
            known = unit.session(prefix.key, lock=True)
            if known is not None and not _succeeds(known, shown) and _still_in_use(chain, known.kid, now):
                raise ConflictError(
                    "federation.exchange_receiving.fenced",
                    field="fence",
                    prefix=prefix.key,
                    value=shown.fence,
                    known=known.fence,
                )
            unit.put_session(prefix.key, shown, at=int(now))


def _succeeds(known: Session, shown: Session) -> bool:
    if known.instance == shown.instance:
        return shown.fence >= known.fence
    return shown.fence > known.fence


def _still_in_use(chain: VerifiedChain, kid: str, now: float) -> bool:
    try:
        chain.signing_key(kid, now)
    except UntrustedError:
        return False
    return True
