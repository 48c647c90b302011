import pytest
from epcis_event_hash_generator import dl_normaliser
from hypothesis import assume, example, given
from hypothesis import strategies as st

from node.flow.events.texts import is_uri
from node.flow.events.uris import Kind, Reference, normal, read_uri, to_hdl, to_uri
from registry.errors import InvalidValueError, MalformedIdentifierError
from registry.identifier import Identifier

PREFIXES = (
    st.lists(st.integers(1, 9999).map(str), min_size=1, max_size=4).map(".".join).filter(lambda p: len(p) > 1)
)
SUFFIXES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
HOSTS = st.sampled_from(["id.example.cn", "localhost:8443", "[::1]:8443", "a.test"])


@given(PREFIXES, SUFFIXES, st.sampled_from(list(Kind)), HOSTS)
@example("88.1.2", "批次 1/槽 %2F?x#y", Kind.CLASS, "a.test")
def test_an_identifier_comes_back_from_its_uri(prefix, suffix, kind, host):
    identifier = f"{prefix}/{suffix}"
    try:
        uri = to_uri(identifier, kind, host)
    except InvalidValueError:
        assume(False)
    assert is_uri(uri)
    assert read_uri(uri) == Reference(identifier, kind, host)
    assert dl_normaliser.normaliser(uri) is None
    assert read_uri(to_hdl(identifier)) == Reference(identifier, None, None)
    assert normal(uri) == normal(to_hdl(identifier)) == normal(to_uri(identifier, Kind.PARTY, "other.test"))


@pytest.mark.parametrize(
    ("kind", "uri"),
    [
        (Kind.OBJECT, "https://a.test/88.1.2/obj/T7"),
        (Kind.CLASS, "https://a.test/88.1.2/class/T7"),
        (Kind.PLACE, "https://a.test/88.1.2/loc/T7"),
        (Kind.DOCUMENT, "https://a.test/88.1.2/bt/T7"),
        (Kind.PARTY, "https://a.test/88.1.2/pty/T7"),
    ],
)
def test_the_marker_says_what_is_named(kind, uri):
    assert to_uri("88.1.2/T7", kind, "a.test") == uri


def test_chinese_and_spaces_and_slashes_are_escaped():
    assert to_uri("88.1.2/批 1/a", Kind.CLASS, "a.test") == "https://a.test/88.1.2/class/%E6%89%B9%201%2Fa"


@given(PREFIXES, SUFFIXES)
def test_two_uris_are_alike_exactly_when_their_identifiers_match(prefix, suffix):
    one, other = f"{prefix}/{suffix}", f"{prefix}/{suffix.swapcase()}"
    same = Identifier.parse(one).key == Identifier.parse(other).key
    assert (normal(to_hdl(one)) == normal(to_hdl(other))) is same


@pytest.mark.parametrize(
    "uri",
    [
        "urn:test:1",
        "https://a.test/88.1.2/T7",
        "https://a.test/88.1.2/drum/T7",
        "https://a.test/brand/obj/T7",
        "http://a.test/88.1.2/obj/T7",
        "https://a.test/88.1.2/obj/",
        "https://a.test/88.1.2/obj/T7?x=1",
        "https://a.test/88.1.2/obj/T7/more",
        "https://a.test/88.1.2/obj/%ZZ",
        "https://a.test/88.1.2/obj/%FF",
        "https://a.test/88.1.2/obj/%00",
        "hdl:88.1.2/%FF",
        "hdl:88.1.2",
    ],
)
def test_a_foreign_uri_is_carried_as_it_is(uri):
    assert read_uri(uri) is None
    assert normal(uri) == uri


def test_a_gs1_key_is_compared_by_its_canonical_link():
    assert normal("urn:epc:id:sgtin:4012345.011111.9876") == normal(
        "https://x.test/01/04012345111118/21/9876"
    )


def test_a_host_that_is_not_ours_makes_a_uri_foreign():
    uri = "https://B.test/88.1.2/obj/T7"
    assert read_uri(uri, authorities={"a.test"}) is None
    assert read_uri(uri, authorities={"b.test"}) == Reference("88.1.2/T7", Kind.OBJECT, "b.test")


@pytest.mark.parametrize(
    "identifier", ["01/T7", "88.1.2/x/01/04012345123456", "88.1.2/x/gtin/4012", "00/1", "88.1.2/00/1"]
)
def test_what_gs1_software_takes_for_a_key_is_refused(identifier):
    with pytest.raises(InvalidValueError, match="GS1"):
        to_uri(identifier, Kind.OBJECT, "a.test")


@pytest.mark.parametrize("authority", ["", "a b", "a.test/x", "user@a.test", "a.test:port", "https://a.test"])
def test_what_is_no_host_is_refused(authority):
    with pytest.raises(InvalidValueError):
        to_uri("88.1.2/T7", Kind.OBJECT, authority)


def test_what_is_no_identifier_is_refused():
    for bad in ("88..2/T7", "88.1.2/", "88.1.2/a\nb"):
        with pytest.raises(MalformedIdentifierError):
            to_uri(bad, Kind.OBJECT, "a.test")
        with pytest.raises(MalformedIdentifierError):
            to_hdl(bad)
    with pytest.raises(InvalidValueError):
        to_uri("brand/T7", Kind.OBJECT, "a.test")
