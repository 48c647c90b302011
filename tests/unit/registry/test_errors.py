import pytest

from registry import errors
from registry.errors import GRPC_STATUS, HANDLE_CODE, HTTP_STATUS, HazlinkError, Kind

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HazlinkError)
]


@pytest.mark.parametrize("table", [HTTP_STATUS, GRPC_STATUS, HANDLE_CODE])
def test_every_kind_has_its_place_in_every_map(table):
    assert set(table) == set(Kind)


def test_every_kind_has_a_class_and_every_class_is_exported():
    assert {made.kind for made in CLASSES} == set(Kind)
    assert {made.__name__ for made in CLASSES} <= set(errors.__all__)


def test_an_error_tells_its_text_in_both_languages():
    made = errors.MalformedIdentifierError("registry.identifier.no_slash", field="identifier", value="x")
    assert "x" in made.message("en")
    assert "前缀" in made.message("zh")
    assert str(made) == made.message("en")
