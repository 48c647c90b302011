import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exchange.understanding import MAX_SCHEMAS, MAX_TYPES, Understanding
from registry.errors import MalformedError

PEER = Understanding({"incidents": ["incidents/1", "incidents/2"], "dataset.entries": ["T9/1"]})


def test_an_announcement_survives_the_wire():
    said = PEER.claims()
    assert said == {"dataset.entries": ["T9/1"], "incidents": ["incidents/1", "incidents/2"]}
    assert Understanding.read(said) == PEER
    assert hash(Understanding.read(said)) == hash(PEER)
    assert Understanding.read({}) != PEER


def test_the_newest_schema_the_peer_knows_is_written():
    assert PEER.choose("incidents", ["incidents/3", "incidents/2", "incidents/1"]) == "incidents/2"


def test_for_a_peer_that_knows_none_the_newest_is_written_and_kept_there():
    assert PEER.choose("incidents", ["incidents/9", "incidents/8"]) == "incidents/9"
    assert PEER.choose("later", ["later/2", "later/1"]) == "later/2"
    assert not PEER.knows("later", "later/2")


@pytest.mark.parametrize(
    "content",
    [None, [], "x", {"a": []}, {"a": "a/1"}, {"a": [1]}, {"a": ["a/1", "a/1"]}, {"a": [""]},
     {"a": [str(number) for number in range(MAX_SCHEMAS + 1)]}, {str(number): ["x"] for number in range(MAX_TYPES + 1)}],
)  # fmt: skip
def test_another_form_of_announcement_is_refused(content):
    with pytest.raises(MalformedError):
        Understanding.read(content)


@given(
    st.dictionaries(
        st.text(max_size=4), st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4, unique=True)
    )
)
def test_every_announcement_of_the_right_form_is_read(content):
    assert Understanding.read(Understanding.read(content).claims()) == Understanding(content)
