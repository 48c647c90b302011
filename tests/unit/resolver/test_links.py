import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.identifier import Identifier
from registry.record import Record, Status
from registry.value import Value
from resolver.links import DEFAULT_LINK, GS1, default_of, expanded, links_of, linkset, safe_url

BASE = "https://id.example"


def _record(*pairs):
    values = tuple(Value(n, kind, text.encode()) for n, (kind, text) in enumerate(pairs, 1))
    return Record(Identifier.parse("88.107.1001/BATCH-1"), "batch", 1, Status.ACTIVE, values, 0)


@pytest.mark.parametrize(
    ("kind", "rel"),
    [
        ("URL", "describedby"),
        ("URL.PHOTO", "describedby"),
        ("SDS_URL", GS1 + "safetyInfo"),
        ("sds_en_url", GS1 + "safetyInfo"),
        ("TRACE_URL", GS1 + "traceability"),
        ("CERTIFICATE_URL", GS1 + "certificationInfo"),
        ("MANUAL_URL", GS1 + "instructions"),
        ("DATA_URL", GS1 + "masterData"),
        ("OTHER_URL", "describedby"),
    ],
)
def test_a_value_type_says_the_link_type(kind, rel):
    assert links_of(_record((kind, "https://e.example/a.pdf")), base_url=BASE)[0].rel == rel


def test_a_link_knows_language_and_media_type_of_its_target():
    (link, *_) = links_of(_record(("SDS_EN_URL", "https://e.example/a.PDF?x=1")), base_url=BASE)
    assert (link.type, link.hreflang) == ("application/pdf", ("en",))


@pytest.mark.parametrize(
    "given_url",
    [
        "javascript:alert(1)", "data:text/html,x", "ftp://e/x", "//e/x", "https://", "https:///x", "http://a b/",
        "https://user@e.example/", "https://e:99999/", "https://e/\r\nSet-Cookie: a", "https://[::1", "HTTPS:e",
        "https://е.example/", "https://e/" + "x" * 2048, "",
    ],
)  # fmt: skip
def test_only_plain_web_addresses_become_links(given_url):
    assert safe_url(given_url) is None
    assert [link.rel for link in links_of(_record(("URL", given_url)), base_url=BASE)] == [
        "alternate",
        GS1 + "masterData",
    ]


@given(st.text(max_size=60))
def test_a_safe_address_fits_into_a_header(tail):
    made = safe_url("https://e.example/" + tail)
    assert made is None or (made.isascii() and made.isprintable() and not set(made) & set(' <>"'))


def test_there_is_exactly_one_default_link_and_it_is_repeated_under_its_type():
    for record in (
        _record(("CAS_NO", "67-64-1")),
        _record(("SDS_URL", "https://e/s"), ("URL", "https://e/u")),
    ):
        links = links_of(record, base_url=BASE)
        (context,) = linkset(BASE + "/id/x", links, language="zh")["linkset"]
        (default,) = context[DEFAULT_LINK]
        assert set(default) == {"href", "title"}
        again = [t["href"] for rel, targets in context.items() if rel.islower() or rel.startswith(GS1)
                 if isinstance(targets, list) and rel != DEFAULT_LINK for t in targets]  # fmt: skip
        assert default["href"] in again
        assert default["href"] == default_of(links).href
    assert default_of(links).href == "https://e/u"


def test_what_replaces_a_record_comes_first():
    links = links_of(_record(("URL", "https://e/u")), base_url=BASE)
    (context,) = linkset("a", links, language="en", successors=["https://id.example/id/88.1/n"])["linkset"]
    assert context["successor-version"][0]["href"] == "https://id.example/id/88.1/n"
    assert context[DEFAULT_LINK][0]["href"] == "https://id.example/id/88.1/n"


@pytest.mark.parametrize(
    "word", ["safetyInfo", "gs1:safetyInfo", "https://gs1.org/voc/safetyInfo", GS1 + "safetyInfo"]
)
def test_a_link_type_may_be_abbreviated(word):
    assert expanded(word) == GS1 + "safetyInfo"
