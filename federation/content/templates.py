"""Which templates a node registers by: the docking tables T4 (nodes) and T11 (enterprises)."""

from collections.abc import Iterable
from typing import Any

from federation.content.dataset import Tier, tier_of
from registry.identifier import Prefix
from registry.template import TemplateCatalogue
from registry.template_schema import Template

__all__ = ["Metadata"]


class Metadata:
    """Puts both tables together; each method is a `federation.content.snapshots.Rows`. A prefix tells one of them."""

    def __init__(self, templates: TemplateCatalogue) -> None:
        self._templates = templates

    def t4(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the templates of a secondary node."""
        del connection, receiver, now
        return self._rows(owner) if tier_of(owner) is Tier.SECONDARY else ()

    def t11(self, connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:
        """Return the templates of an enterprise."""
        del connection, receiver, now
        return self._rows(owner) if tier_of(owner) is Tier.ENTERPRISE else ()

    def _rows(self, owner: Prefix) -> Iterable[dict[str, Any]]:
        for kind in self._templates.kinds():
            template = self._templates.newest(kind)
            if template is not None:
                yield {
                    "code": f"{owner.key}:{kind}/{template.version}",
                    "version": template.version,
                    "object_type": kind,
                    "active_carrier": False,
                    "items": _items(template),
                }


def _items(template: Template) -> list[dict[str, Any]]:
    properties = template.document["properties"]
    return [
        {
            "name": name,
            "alias": field.title["zh"][:128],
            "type": "array" if field.repeated else "string",
            "length": properties[name].get("maxLength"),
        }
        for name, field in template.fields.items()
    ]
