import pytest

from node.flow.events import vocabulary
from node.flow.events.vocabulary import BIZ_STEP, DISPOSITION, MEASUREMENT, bare, is_own_value

LISTS = [
    (vocabulary.BIZ_STEP, 41),
    (vocabulary.DISPOSITION, 33),
    (vocabulary.BIZ_TRANSACTION, 13),
    (vocabulary.PARTY_ROLE, 3),
    (vocabulary.ERROR_REASON, 2),
    (vocabulary.ALERT, 2),
    (vocabulary.MEASUREMENT, 72),
    (vocabulary.COMPONENT, 14),
]


@pytest.mark.parametrize(("words", "count"), LISTS)
def test_each_list_has_as_many_words_as_published(words, count):
    assert len(words.words) == count


@pytest.mark.parametrize(("words", "count"), LISTS)
def test_every_spelling_of_every_word_becomes_the_bare_word(words, count):
    for word in words.words:
        assert bare(word) == word
        assert bare(words.uri + word) == word
        assert words.urn is None or bare(words.urn + word) == word
        assert words.expanded(words.uri + word) == words.expanded(word) == words.uri + word


def test_a_value_of_ones_own_stays():
    assert bare("https://own.test/departing") == "https://own.test/departing"
    assert bare("https://ref.gs1.org/cbv/BizStep-anew") == "https://ref.gs1.org/cbv/BizStep-anew"
    assert BIZ_STEP.expanded("in_transit") == "in_transit"
    assert DISPOSITION.expanded("in_transit") == "https://ref.gs1.org/cbv/Disp-in_transit"
    assert MEASUREMENT.expanded("Mass") == "https://gs1.org/voc/Mass"


def test_what_gs1_keeps_for_itself_is_no_own_value():
    assert not is_own_value("urn:epcglobal:cbv:bizstep:x")
    assert not is_own_value("http://ns.gs1.org/cbv/x")
    assert is_own_value("https://ref.gs1.org/cbv/BizStep-x")
