"""The sharing policy: which fields of an entry go to which tier as values, as digests, or not at all.

Rules:

- a field's own rule stands over the dataset's, the configuration over both; of configured rules the last that fits;
- what the receiver passes on to the tiers above it is narrowed to what the strictest of them may see;
- the key field always goes as it is: without it nobody could tell which entry is meant;
- a digest is salted, so that nothing can be guessed from it. The salt comes from a secret that never leaves the
  sender and from the place of the value; with it the sender can prove later what the value was.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

from federation.content.config import SharingConfig
from federation.content.dataset import Dataset, Datasets, Entry, Rhythm, Sharing, Tier, tier_of
from registry.errors import InvalidValueError, MalformedError
from registry.identifier import Prefix
from registry.trust.encoding import b64u, from_b64u

__all__ = ["CHINA_TIME", "Policy", "Relays", "day_of", "proves", "salted", "slot_of"]

#: Days of the docking tables are days in China, whatever the clock of the machine is set to.
CHINA_TIME = timezone(timedelta(hours=8))
SALT_BYTES = 16
_SALT_LABEL = b"hazlink/salt/v1\n"
_RULE = re.compile(
    r"(?P<dataset>\*|(?:stream:)?[a-z0-9-]+)\.(?P<field>\*|[a-z0-9_]+)@(?P<tier>\*|[a-z]+)=(?P<how>[a-z]+)"
)
_STRICTNESS = (Sharing.VALUE, Sharing.DIGEST, Sharing.WITHHELD)
_PACE = tuple(Rhythm)


@dataclass(frozen=True, slots=True)
class _Rule:
    dataset: str
    field: str
    tier: str
    how: Sharing

    def fits(self, dataset: Dataset, field: str, tier: Tier) -> bool:
        return (
            self.dataset in ("*", dataset.name, f"stream:{dataset.stream}")
            and self.field in ("*", field)
            and self.tier in ("*", tier.value)
        )


class Policy:
    """The policy of one node. Immutable; any number of threads.

    Args:
        datasets: what is declared.
        config: what this node wants to be different.
        secret: 32 bytes that never leave the node; the salts come from it.

    Raises:
        InvalidValueError: a configured rule cannot be read, names what is not there, hides a key, or slows down.
    """

    def __init__(self, *, datasets: Datasets, config: SharingConfig | None = None, secret: bytes) -> None:
        config = config or SharingConfig()
        self._datasets = datasets
        self._secret = secret
        self._rules = tuple(_read_rule(text, datasets) for text in config.rules)
        self._rhythms = dict(_read_rhythm(text, datasets) for text in config.rhythms)
        self._shares: dict[tuple[str, int, Tier], Mapping[str, Sharing]] = {}

    def rhythm(self, dataset: Dataset) -> Rhythm:
        """Return how soon entries of a dataset go up."""
        return self._rhythms.get(dataset.name, dataset.rhythm)

    def shares(self, dataset: Dataset, tier: Tier) -> Mapping[str, Sharing]:
        """Return what a receiving tier gets of each field."""
        known = self._shares.get((dataset.name, dataset.version, tier))
        if known is None:
            tiers = _reached(tier) if dataset.relay else (tier,)
            known = {
                field: max((self._share(dataset, field, one) for one in tiers), key=_STRICTNESS.index)
                for field in dataset.fields
            }
            self._shares[dataset.name, dataset.version, tier] = known
        return known

    def apply(self, dataset: Dataset, entry: Entry, *, owner: Prefix, receiver: Prefix) -> Entry:
        """Return what `receiver` gets of an entry of `owner`."""
        shares = self.shares(dataset, tier_of(receiver))
        content: dict[str, Any] = {}
        withheld = list(entry.withheld)
        for name, value in entry.content.items():
            how = shares[name]
            if how is Sharing.VALUE:
                content[name] = value
            elif how is Sharing.DIGEST:
                salt = self.salt(dataset, owner, dataset.key_of(entry.content), entry.version, name)
                content[name] = {"digest": salted(salt, value)}
            else:
                withheld.append(name)
        return replace(entry, content=content, withheld=tuple(withheld))

    def salt(self, dataset: Dataset, owner: Prefix, key: str, version: int, field: str) -> bytes:
        """Return the salt of one value, for who has to prove what stands behind its digest."""
        place = orjson.dumps([dataset.name, owner.key, key, version, field])
        return hmac.digest(self._secret, _SALT_LABEL + place, "sha256")[:SALT_BYTES]

    def _share(self, dataset: Dataset, field: str, tier: Tier) -> Sharing:
        if field == dataset.key:
            return Sharing.VALUE
        for rule in reversed(self._rules):
            if rule.fits(dataset, field, tier):
                return rule.how
        for share in (dataset.fields[field].share, dataset.share):
            how = share.get(tier.value) or share.get("*")
            if how is not None:
                return how
        return Sharing.WITHHELD


class Relays:
    """Says which arriving envelopes go on to the tier above; implements the exchange's port for it. Immutable."""

    def __init__(self, datasets: Datasets) -> None:
        kinds: dict[tuple[str, str], bool] = {}
        for dataset in datasets:
            kind = (dataset.stream, dataset.type)
            kinds[kind] = kinds.get(kind, True) and dataset.relay
        self._kinds = frozenset(kind for kind, relayed in kinds.items() if relayed)

    def relays(self, stream: str, type_: str) -> bool:
        """Say whether envelopes of this type are passed on."""
        return (stream, type_) in self._kinds


def salted(salt: bytes, value: Any) -> str:
    """Return the digest that stands in place of a value: SHA-256 over the salt and the value's compact JSON."""
    return b64u(hashlib.sha256(salt + orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest())


def proves(salt: str, value: Any, digest: str) -> bool:
    """Say whether a value with its salt (base64url) is what a digest stands for.

    Raises:
        MalformedError: the salt is none.
    """
    raw = from_b64u(salt)
    if raw is None or len(raw) != SALT_BYTES:
        raise MalformedError("federation.content.salt", field="salt")
    return hmac.compare_digest(salted(raw, value), digest)


def slot_of(rhythm: Rhythm, now: float) -> int:
    """Return the number of the period that `now` lies in; what waited goes up when it changes."""
    local = datetime.fromtimestamp(now, CHINA_TIME)
    if rhythm is Rhythm.MONTHLY:
        return local.year * 12 + local.month
    if rhythm is Rhythm.DAILY:
        return local.toordinal()
    if rhythm is Rhythm.HOURLY:
        return int(now // 3600)
    return int(now)


def day_of(now: float) -> str:
    """Return the day in China as `yyyy-MM-dd`."""
    return datetime.fromtimestamp(now, CHINA_TIME).strftime("%Y-%m-%d")


def _reached(tier: Tier) -> Sequence[Tier]:
    """Return a tier and those above it."""
    order = (Tier.TOP, Tier.SECONDARY, Tier.ENTERPRISE)
    return order[: order.index(tier) + 1]


def _read_rule(text: str, datasets: Datasets) -> _Rule:
    found = _RULE.fullmatch(text.replace(" ", ""))
    if found is None:
        raise InvalidValueError("federation.content.rule", field="sharing.rules", value=text[:128])
    name, field, tier, how = (found[part] for part in ("dataset", "field", "tier", "how"))
    fields = _fields_of(name, datasets)
    good = (
        fields is not None
        and (field == "*" or field in fields)
        and (tier == "*" or tier in tuple(Tier))
        and how in tuple(Sharing)
    )
    if not good:
        raise InvalidValueError("federation.content.rule", field="sharing.rules", value=text[:128])
    rule = _Rule(name, field, tier, Sharing(how))
    hides = rule.how is not Sharing.VALUE
    if hides and any(made.key == field and _named(rule, made) for made in datasets):
        raise InvalidValueError("federation.content.rule_key", field="sharing.rules", value=text[:128])
    return rule


def _fields_of(name: str, datasets: Datasets) -> Iterable[str] | None:
    if name == "*" or name.startswith("stream:"):
        kept = [made for made in datasets if name in ("*", f"stream:{made.stream}")]
        return {field for made in kept for field in made.fields} if kept else None
    return datasets.newest(name).fields if name in datasets.names() else None


def _named(rule: _Rule, dataset: Dataset) -> bool:
    return rule.dataset in ("*", dataset.name, f"stream:{dataset.stream}")


def _read_rhythm(text: str, datasets: Datasets) -> tuple[str, Rhythm]:
    name, equals, wanted = text.replace(" ", "").partition("=")
    if not equals or name not in datasets.names() or wanted not in tuple(Rhythm):
        raise InvalidValueError("federation.content.rhythm", field="sharing.rhythms", value=text[:128])
    rhythm, declared = Rhythm(wanted), datasets.newest(name).rhythm
    if _PACE.index(rhythm) > _PACE.index(declared):
        raise InvalidValueError(
            "federation.content.rhythm_slow",
            field="sharing.rhythms",
            value=text[:128],
            right=declared.value,
        )
    return name, rhythm
