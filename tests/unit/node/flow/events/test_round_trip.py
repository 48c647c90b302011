import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.flow.events.document import read_document, standalone, write
from registry.errors import HazlinkError
from tests.unit.node.flow.events.documents import EVENTS, NOW, a_document, an_event, judged


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(EVENTS)
def test_an_event_read_and_written_again_loses_nothing(event):
    data = write(a_document(event))
    document = read_document(data, now=NOW)
    document.require_sound()
    assert write(document.content) == data
    (read,) = document.events
    assert read.content == event
    again = read_document(write(standalone(read)), now=NOW)
    assert again.all_faults == ()
    assert again.events == (read,)


@pytest.mark.parametrize(
    "digits", ["21.50", "0.000", "1", "12345678901234567890.12345678901234", "-0", "1E+2", "3E-9"]
)
def test_a_number_keeps_its_digits(digits):
    data = write(a_document(an_event(**{"hz:x": 7}))).replace(b'"hz:x":7', b'"hz:x":' + digits.encode())
    document = read_document(data, now=NOW)
    assert document.all_faults == ()
    assert str(document.events[0].content["hz:x"]) == digits
    assert write(document.content) == data


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text("ab:/é", max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab:@", max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def _ways(node, way):
    """The way to everything inside a document."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [found for key in keys for found in ((*way, key), *_ways(node[key], (*way, key)))]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(EVENTS, st.data())
def test_whatever_stands_somewhere_in_an_event_the_answer_is_an_event_or_faults(event, data):
    content = json.loads(write(a_document(event)))
    ways = _ways(content, ())
    *steps, last = data.draw(st.sampled_from(ways))
    node = content
    for step in steps:
        node = node[step]
    node[last] = data.draw(_JSON)
    document = judged(content)
    for entry in document.entries:
        assert (entry.event is None) == bool(entry.faults)
    for fault in document.all_faults:
        assert fault.message("zh")
        assert fault.message("en")


@given(st.binary(max_size=60))
def test_whatever_the_bytes_are_the_answer_is_a_document_or_a_refusal(data):
    with suppress(HazlinkError):
        assert read_document(data, now=NOW).all_faults
