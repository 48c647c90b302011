"""JSON-LD contexts, resolved from what is here and never from the network.

Rules:

- the EPCIS context must be named: without it the words of a document have no meaning, and its hash would depend on
  who reads it;
- a context known only by its address is refused unless the operator has put its prefixes here (`known`): whatever
  it says could give another meaning to every prefix behind it, also to those written out beside it;
- prefixes written out (`{"hz": "https://ns.test/hz/"}`, also as `{"@id": …}`) are taken; the names and prefixes of
  EPCIS itself are protected and keep their meaning.

Source of the prefixes: GS1, EPCIS 2.0 JSON-LD context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from node.flow.events.faults import Path, Sink
from node.flow.events.texts import is_uri

__all__ = ["EPCIS_CONTEXT", "KNOWN", "NO_CONTEXT", "PROTECTED", "Context", "resolve"]

EPCIS_CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"

_EPCIS_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "epcis": "https://ref.gs1.org/epcis/",
        "cbv": "https://ref.gs1.org/cbv/",
        "cbvmda": "urn:epcglobal:cbv:mda:",
        "gs1": "https://gs1.org/voc/",
        "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
        "owl": "http://www.w3.org/2002/07/owl#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        "dcterms": "http://purl.org/dc/terms/",
    }
)
#: address of a context → the prefixes it declares.
KNOWN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(
        (
            EPCIS_CONTEXT,
            "https://ref.gs1.org/standards/epcis/epcis-context.jsonld",
            "https://gs1.github.io/EPCIS/epcis-context.jsonld",
        ),
        _EPCIS_PREFIXES,
    )
)

_EPCIS_NAMES = """ObjectEvent AggregationEvent TransformationEvent AssociationEvent TransactionEvent Collection
member id type eventID eventTime recordTime eventTimeZoneOffset action certificationInfo bizStep disposition
bizLocation readPoint transformationID epcList sourceList destinationList persistentDisposition quantity epcClass uom
quantityList bizTransactionList parentID childEPCs childQuantityList inputEPCList outputEPCList inputQuantityList
outputQuantityList sensorElementList errorDeclaration creationDate sender receiver instanceIdentifier schemaVersion
ilmd EPCISDocument EPCISQueryDocument epcisHeader masterData vocabularyList epcisBody queryResults subscriptionID
queryName resultsBody eventList children"""
#: Names of EPCIS that no other context may give another meaning.
PROTECTED = frozenset(_EPCIS_NAMES.split())
#: What a written-out context may say about itself; `@import` would fetch, the rest has no bearing on prefixes.
_KEYWORDS = frozenset({"@version", "@protected", "@vocab", "@base", "@language", "@direction", "@propagate"})


@dataclass(frozen=True, slots=True)
class Context:
    """What the names of a document mean.

    Attributes:
        prefixes: prefix → namespace.
        epcis: whether the EPCIS context is among what was resolved.
    """

    prefixes: Mapping[str, str] = field(default_factory=dict)
    epcis: bool = False

    def expand(self, name: str) -> str:
        """Return a CURIE with its prefix written out; anything else as it is."""
        prefix, colon, local = name.partition(":")
        if colon:
            namespace = self.prefixes.get(prefix)
            if namespace is not None:
                return namespace + local
        return name


NO_CONTEXT = Context()


def resolve(
    written: Any,
    at: Path,
    sink: Sink,
    *,
    known: Mapping[str, Mapping[str, str]] = KNOWN,
    base: Context = NO_CONTEXT,
) -> Context:
    """Return what an `@context` says; what is wrong with it goes into `sink`.

    Args:
        written: the value of `@context`.
        at: the way to it.
        sink: takes the faults.
        known: address → prefixes of the contexts that are here.
        base: what holds already, for an `@context` inside a document.
    """
    prefixes = dict(base.prefixes)
    epcis = base.epcis
    parts = enumerate(written) if isinstance(written, list) else ((None, written),)
    for index, part in parts:
        here: Path = at if index is None else (at, index)
        if isinstance(part, str):
            declared = known.get(part)
            if declared is None:
                sink.add(here, "context_unknown", value=part)
                continue
            prefixes.update(declared)
            epcis = epcis or declared is _EPCIS_PREFIXES
        elif isinstance(part, dict):
            _written_out(part, here, sink, prefixes)
        else:
            sink.add(here, "context_form")
    if not epcis:
        sink.add(at, "context_epcis", right=EPCIS_CONTEXT)
    return Context(MappingProxyType(prefixes), epcis)


def _written_out(part: Mapping[str, Any], at: Path, sink: Sink, prefixes: dict[str, str]) -> None:
    for name, value in part.items():
        if name.startswith("@"):
            if name not in _KEYWORDS:
                sink.add((at, name), "context_keyword", value=name)
            continue
        namespace = value.get("@id") if isinstance(value, dict) else value
        if not isinstance(namespace, str):
            sink.add((at, name), "context_prefix", value=name)
            continue
        namespace = Context(prefixes).expand(namespace)
        if name in PROTECTED or _EPCIS_PREFIXES.get(name, namespace) != namespace:
            sink.add((at, name), "context_term", value=name)
        elif not is_uri(namespace):
            sink.add((at, name), "context_prefix", value=name)
        else:
            prefixes[name] = namespace
