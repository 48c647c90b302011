"""The decision of the walk: whom to ask next, and when to stop. No I/O, no clock.

Rules (DESIGN 2; facts on identifiers, §5):

- a walk begins at the deepest zone that is verified, at worst at the configured endpoints of the top tier;
- within a zone the endpoints are asked in order, each once: one that fails or lies is left for the next;
- a referral is followed only to a prefix strictly below the zone and around the identifier, so a circle cannot close;
- after `limit` tiers, counting those the question had passed before, the walk ends;
- when nobody is left, the walk ends with the gravest of the refusals: a lie before a silence.

Every step takes an endpoint or a label away, so a walk ends whatever it is told.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from registry.errors import HazlinkError, LoopError, UnavailableError, UntrustedError
from registry.identifier import Identifier, Prefix
from resolver.ports import Endpoint

__all__ = ["Walk", "Zone"]


@dataclass(frozen=True, slots=True)
class Zone:
    """A verified place of the tree: the prefix and who answers for it.

    Attributes:
        prefix: the delegated prefix; None is above all of them: the top tier's own endpoints.
        endpoints: where it is served, in the order to be asked.
        chain: the statements it stands on, leaf first, as its superior showed them.
    """

    prefix: Prefix | None
    endpoints: tuple[Endpoint, ...]
    chain: tuple[str, ...] = ()


class Walk:
    """The way to one identifier.

    Args:
        identifier: what is looked for.
        zone: where to begin.
        hops: tiers passed already.
        limit: tiers that may be passed in all.
    """

    __slots__ = ("_errors", "_left", "_limit", "hops", "identifier", "zone")

    def __init__(self, identifier: Identifier, zone: Zone, *, hops: int, limit: int) -> None:
        self.identifier = identifier
        self._limit = limit
        self._errors: list[HazlinkError] = []
        self._enter(zone, hops)

    def next(self) -> Endpoint:
        """Return whom to ask now.

        Raises:
            HazlinkError: the walk has ended; says why.
        """
        if self.hops >= self._limit:
            raise LoopError("resolver.walk.hops", field="hops", value=self.identifier.text, limit=self._limit)
        if self._left:
            return self._left[-1]
        raise self._gravest()

    def fail(self, error: HazlinkError) -> None:
        """Leave the endpoint that was asked: it failed, or what it said did not hold."""
        self._errors.append(error)
        self._left.pop()

    def refer(self, zone: Zone) -> None:
        """Go on to a verified zone below.

        Raises:
            LoopError: it does not lead down.
            UntrustedError: it leads elsewhere.
        """
        self.check_referral(zone.prefix)
        self._errors.clear()
        self._enter(zone, self.hops + 1)

    def check_referral(self, prefix: Prefix | None) -> None:
        """Say whether a referral to `prefix` may be followed.

        Raises:
            LoopError: it does not lead down.
            UntrustedError: it leads elsewhere.
        """
        name = prefix.key if prefix else ""
        if prefix is None or not prefix.contains(self.identifier.authority):
            raise UntrustedError(
                "resolver.walk.referral_elsewhere", field="referral", prefix=name, value=self.identifier.text
            )
        here = self.zone.prefix
        if here is not None and (here == prefix or not here.contains(prefix)):
            raise LoopError(
                "resolver.walk.referral_circle",
                field="referral",
                prefix=name,
                here=here.key,
                value=self.identifier.text,
            )

    def _enter(self, zone: Zone, hops: int) -> None:
        self.zone = zone
        self.hops = hops
        self._left = list(reversed(list(dict.fromkeys(zone.endpoints))))

    def _gravest(self) -> HazlinkError:
        if not self._errors:
            where = self.zone.prefix.key if self.zone.prefix else "*"
            return UnavailableError(
                "resolver.walk.no_endpoint", field="endpoints", prefix=where, value=self.identifier.text
            )
        return _first_of(self._errors, UntrustedError, LoopError) or self._errors[-1]


def _first_of(errors: Iterable[HazlinkError], *kinds: type[HazlinkError]) -> HazlinkError | None:
    return next((error for error in errors if isinstance(error, kinds)), None)
