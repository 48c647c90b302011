"""Where the receiver of a lane is, and with which keys it signs: all of it out of statements that were verified.

Rules:

- a receiver homed in this very process is handed its envelopes directly; a superior is asked over HTTPS at the
  addresses its own statement names, then at those the invitation named; everybody else comes and fetches;
- the keys of a receiver come from the newest chain known of it, or from the part of the sender's own chain that is
  about it; a receipt counts when its key was good when it was made, or is good now: clocks differ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.clock import Clock
from registry.delegation import Home
from registry.errors import HazlinkError, UntrustedError
from registry.identifier import Prefix
from registry.trust.algorithms import PublicKey
from registry.trust.chain import VerifiedChain, verify_chain
from registry.trust.root import Anchor
from registry.trust.statement import read
from resolver.ports import Endpoint

__all__ = ["ChainBook", "Neighbourhood", "Reach", "Reaching"]

_MOST = 1_024


class ChainBook(Protocol):
    """The newest chains of others; `federation.exchange.chains.Chains` is one.

    Concurrency: any number of threads. Errors: HazlinkError when nothing can be said.
    """

    def newest(self, subject: Prefix) -> VerifiedChain | None:
        """Return the newest chain known of exactly this prefix, fresh or not."""
        ...


class Neighbourhood(Protocol):
    """What this node knows of itself; `registry.prefixes.homes.Homes` is one.

    Consistency: as of the last refresh. Concurrency: any number of threads. Errors: none.
    """

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here."""
        ...

    def home(self, prefix: Prefix) -> Home | None:
        """Return the home of exactly this prefix."""
        ...

    def all(self) -> tuple[Home, ...]:
        """Return every homed or asked-for prefix."""
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for it, leaf first."""
        ...

    def delegation(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the chain of the deepest delegation to another node that contains `prefix`, leaf first."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """How a receiver is reached.

    Attributes:
        local: it is homed in this process.
        endpoints: base URLs with their certificate pins, tried in order.
    """

    local: bool
    endpoints: tuple[Endpoint, ...] = ()


class Reaching:
    """Finds receivers and their keys.

    Consistency: as of the last refresh of the homes. Concurrency: any number of threads. Errors: as said.
    """

    def __init__(
        self,
        *,
        homes: Neighbourhood,
        chains: ChainBook,
        anchor: Callable[[], Anchor | None],
        clock: Clock,
    ) -> None:
        """Take the parts.

        Args:
            homes: the prefixes of this node.
            chains: the newest chains of others.
            anchor: what this node trusts, as of now.
            clock: the time.
        """
        self._homes = homes
        self._chains = chains
        self._anchor = anchor
        self._clock = clock
        self._verified: dict[tuple[str, ...], VerifiedChain] = {}
        # by sender, receiver and key: the chain that vouches for it, as long as the sender's own stays the same
        self._signing: dict[tuple[Prefix, Prefix, str], tuple[tuple[str, ...], VerifiedChain]] = {}

    def find(self, iss: Prefix, aud: Prefix) -> Reach | None:
        """Return how `iss` reaches `aud`; None when `aud` comes and fetches, or nobody knows it."""
        if self._homes.answers_for(aud):
            return Reach(local=True)
        home = self._homes.home(iss)
        if home is None or home.superior is None:
            return None
        above = self._above(home.chain, aud)
        if not above and home.superior.parent != aud:
            return None
        found: dict[str, Endpoint] = {}
        pin = home.superior.tls_sha256
        if above:
            ep = read(above[0]).endpoints
            pin = ep.tls_x5t_s256 or pin
            for url in (*((ep.exchange,) if ep.exchange else ()), *ep.resolve):
                found.setdefault(url.rstrip("/"), Endpoint(url.rstrip("/"), pin))
        for url in home.superior.urls:
            found.setdefault(url.rstrip("/"), Endpoint(url.rstrip("/"), pin))
        return Reach(local=False, endpoints=tuple(found.values()))

    def superiors(self) -> list[tuple[Prefix, Prefix]]:
        """Return (own prefix, superior) for every prefix whose superior is another node's."""
        return [
            (home.prefix, home.superior.parent)
            for home in self._homes.all()
            if home.superior is not None and not self._homes.answers_for(home.superior.parent)
        ]

    def superior(self, prefix: Prefix) -> Prefix | None:
        """Return the prefix that delegated `prefix`, as its statement says; None for the top and for strangers."""
        for tokens in (self._homes.chain(prefix), self._homes.delegation(prefix)):
            if tokens:
                statement = read(tokens[0])
                if statement.subject == prefix:
                    return statement.issuer
        return None

    def key(self, iss: Prefix, aud: Prefix, kid: str, at: float) -> PublicKey:
        """Return the key with which `aud` signed something for `iss`.

        Args:
            iss: who got it.
            aud: who signed.
            kid: thumbprint it names.
            at: POSIX seconds it names.

        Raises:
            UntrustedError: no chain known here vouches for that key.
        """
        home = self._homes.home(iss)
        under = home.chain if home is not None else ()
        name = (iss, aud, kid)
        known = self._signing.get(name)
        if known is not None and known[0] == under:
            found = self._signed_by(known[1], kid, at)
            if found is not None:
                return found
        for chain in self._of(iss, aud):
            found = self._signed_by(chain, kid, at)
            if found is not None:
                if len(self._signing) >= _MOST:
                    self._signing.clear()
                self._signing[name] = (under, chain)
                return found
        raise UntrustedError("registry.trust.kid_unknown", field="kid", value=kid[:64], subject=aud.key)

    def log_vkey(self, iss: Prefix, aud: Prefix) -> str | None:
        """Return the verifier key of the receiver's log, as its superior states it."""
        stated = [chain.leaf for chain in self._of(iss, aud) if chain.leaf.endpoints.log_vkey is not None]
        newest = max(stated, key=lambda leaf: leaf.ver, default=None)
        return newest.endpoints.log_vkey if newest is not None else None

    def _signed_by(self, chain: VerifiedChain, kid: str, at: float) -> PublicKey | None:
        for moment in (at, self._clock.now()):
            try:
                return chain.signing_key(kid, moment)
            except UntrustedError:
                continue
        return None

    def _of(self, iss: Prefix, aud: Prefix) -> Iterator[VerifiedChain]:
        """Yield the chains about `aud`: what the sender's own chain says, then the newest that came along."""
        home = self._homes.home(iss)
        above = self._above(home.chain if home is not None else (), aud)
        if above:
            held = self._hold(above)
            if held is not None:
                yield held
        try:
            newest = self._chains.newest(aud)
        except HazlinkError:
            newest = None
        if newest is not None:
            yield newest

    def _above(self, chain: Sequence[str], aud: Prefix) -> tuple[str, ...]:
        """Return the part of a chain that is about `aud` and whoever stands above it."""
        for place, token in enumerate(chain):
            if read(token).subject == aud:
                return tuple(chain[place:])
        return ()

    def _hold(self, tokens: tuple[str, ...]) -> VerifiedChain | None:
        found = self._verified.get(tokens)
        if found is None:
            try:
                anchor = self._anchor()
                if anchor is None:
                    return None
                ends = min(self._clock.now(), *(read(token).exp for token in tokens))
                found = verify_chain(tokens, anchor=anchor, now=ends)
            except UntrustedError:
                return None
            if len(self._verified) >= _MOST:
                self._verified.clear()
            self._verified[tokens] = found
        return found
