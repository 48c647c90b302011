import math
import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from node.flow.models import checks
from node.flow.models.catalogue import MODELS, model_named
from node.flow.models.model import OWN, Grade, Model, Parameter, own, ruled, stamp
from registry.errors import InvalidValueError, NotFoundError

TEXTS = tomllib.loads((Path(__file__).parents[5] / "node/messages/flow_models.toml").read_text("utf-8"))
AT = datetime(2026, 6, 1, tzinfo=UTC)


def test_the_five_models_are_declared():
    assert set(MODELS) == {"transport", "closure", "overload", "direction", "gathering"}
    assert model_named("closure") is MODELS["closure"]
    with pytest.raises(NotFoundError):
        model_named("other")


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda m: m.name)
def test_each_model_declares_inputs_parameters_units_and_sources(model):
    assert model.version
    assert model.inputs
    assert model.title("zh") != model.title("en")
    names = [parameter.name for parameter in model.parameters]
    assert len(names) == len(set(names))
    for parameter in model.parameters:
        assert parameter.unit
        assert all(value.source for value in parameter.values)
        assert parameter.own == (parameter.values[0].source == OWN)
    for day in (date(2026, 4, 30), date(2026, 5, 1), date(2030, 1, 1)):
        for name, value in model.settings(day).items():
            assert model.settings(day, {name: value})[name] == value, "a default keeps its own bounds"


def test_a_figure_is_the_one_in_force_on_the_day():
    settings = MODELS["transport"].settings
    assert settings(date(2026, 4, 30))["night_hours"] == 4
    assert settings(date(2026, 5, 1))["night_hours"] == 2
    early = ruled("x", "kg", 1.0, "somewhere", since=date(2020, 1, 1))
    with pytest.raises(InvalidValueError):
        early.on(date(2019, 12, 31))


@pytest.mark.parametrize(
    "wrong", [{"nothing": 1}, {"x": 11}, {"x": -1}, {"x": math.nan}, {"x": "1"}, {"x": True}]
)
def test_a_parameter_out_of_its_bounds_is_refused(wrong):
    model = Model("closure", "1", (), (own("x", "m", 5.0, most=10.0),), run=lambda: None)
    assert model.settings(AT.date(), {"x": 10}) == {"x": 10.0}
    with pytest.raises(InvalidValueError):
        model.settings(AT.date(), wrong)


def test_a_finding_has_one_key_for_one_thing_and_a_text_in_both_languages():
    model = MODELS["direction"]
    facts = {"destination": "x", "period": "p", "count": 1, "mean": 0.1, "p": 0.01}
    one = model.finding("direction_new", "s", Grade.YELLOW, AT, "p|x", **facts)
    assert one.key == "direction|direction_new|s|p|x"
    assert one.title == "node.flow_models.direction_new"
    assert "新的交易对象" in one.text()
    assert "new partner" in one.text("en")
    assert stamp(AT) == "2026-06-01T00:00:00Z"


def test_every_kind_that_the_models_find_has_its_text():
    folder = Path(checks.__file__).parent
    source = "\n".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    prefixes = tuple(f"{name}_" for name in MODELS)
    for text in (one for one in TEXTS if one.startswith(prefixes)):
        head, _, tail = text.partition("_")
        assert f'"{text}"' in source or (f'"{tail}"' in source and f'f"{head}_' in source), text


def test_numbers_are_numbers():
    for good in (1, 1.5, Decimal("1.5"), np.float64(1.5), np.int64(1)):
        assert checks.number(good, "x") == float(good)
    for bad in (
        None,
        "1",
        True,
        np.bool_(True),
        math.nan,
        math.inf,
        Decimal("NaN"),
        Decimal("sNaN"),
        10**400,
        [1],
    ):
        with pytest.raises(InvalidValueError) as caught:
            checks.number(bad, "x")
        assert caught.value.field == "x"
        assert caught.value.message("zh")


def test_a_refusal_names_the_place_in_a_list():
    with pytest.raises(InvalidValueError) as caught:
        checks.numbers([1, math.nan], "counts")
    assert caught.value.field == "counts[1]"


def test_a_parameter_of_a_document_is_not_the_nodes_own():
    assert not ruled("x", "kg", 1.0, "GB 1589").own
    assert isinstance(own("x", "kg", 1.0), Parameter)
