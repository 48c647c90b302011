"""The models by name."""

from collections.abc import Mapping

from node.flow.models import closure, direction, gathering, overload, transport
from node.flow.models.model import Model
from registry.errors import NotFoundError

__all__ = ["MODELS", "model_named"]

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (transport.MODEL, closure.MODEL, overload.MODEL, direction.MODEL, gathering.MODEL)
}


def model_named(name: str) -> Model:
    """Return a model.

    Raises:
        NotFoundError: there is none of that name.
    """
    if name not in MODELS:
        raise NotFoundError("node.flow_models.no_model", field=name, value=", ".join(sorted(MODELS)))
    return MODELS[name]
