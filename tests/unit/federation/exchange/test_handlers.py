import pytest

from federation.exchange.handlers import Handlers
from registry.errors import InternalError
from tests.support.exchange_nodes import Noted


def test_a_handler_is_found_by_type_and_schema():
    note = Noted(schemas=frozenset({"note/1", "note/2"}))
    handlers = Handlers(note)
    assert handlers.find("note", "note/2") is note
    assert handlers.find("note", "note/3") is None
    assert handlers.find("other", "note/1") is None
    assert handlers.known("note")
    assert not handlers.known("other")


def test_what_is_understood_is_told_in_order():
    handlers = Handlers(
        Noted(schemas=frozenset({"b/2", "a/1"})), Noted("bell", "alarm", frozenset({"bell/1"}))
    )
    assert handlers.understands() == {"bell": ["bell/1"], "note": ["a/1", "b/2"]}
    assert handlers.pairs() == [("bell", "bell/1"), ("note", "a/1"), ("note", "b/2")]


def test_two_handlers_for_one_schema_are_a_mistake():
    with pytest.raises(InternalError):
        Handlers(Noted(), Noted())


def test_two_schemas_of_a_type_may_have_handlers_of_their_own():
    handlers = Handlers(Noted(), Noted(schemas=frozenset({"note/2"})))
    assert len(handlers.pairs()) == 2
