from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.identifier import Identifier, Prefix
from registry.record import Record, Status
from registry.value import Value
from resolver.answer import Answer, Outcome, Proof, Source
from resolver.scan.content import missing_page, page_of, references_of
from resolver.scan.page import HEADERS, render
from tests.support.handle_api import TEMPLATES

TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "section", "p", "span", "a", "h1", "h2", "small",
    "strong", "dl", "div", "dt", "dd", "nav",
}  # fmt: skip


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.open = set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        names = dict(attrs)
        if "href" in names:
            self.links.append(names["href"])
        assert not any(name.startswith("on") or name in {"style", "src"} for name in names)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _read(page):
    reader = _Reader()
    reader.feed(render(page).decode())
    assert reader.open == []
    assert reader.tags <= TAGS
    return reader


def _page(*values, kind="generic", language="zh", inside=(), **answer):
    record = Record(Identifier.parse("88.107.1001/X"), kind, 2, Status.ACTIVE, values, 1_790_000_000)
    asked = Answer("88.107.1001/X", Outcome.FOUND, record=record, **answer)
    return page_of(
        asked, record, language=language, base_url="https://id.example", templates=TEMPLATES, inside=inside
    )


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=12), st.text(max_size=40)), max_size=6))
def test_no_value_becomes_markup(pairs):
    nasty = [("NOTE", "<script>alert(1)</script>"), ('"><img src=x onerror=1>', "</style><b>"), *pairs]
    values = [Value(2000 + n, kind, text.encode()) for n, (kind, text) in enumerate(nasty)]
    _read(_page(*values))


@pytest.mark.parametrize(
    ("kind", "content", "href"),
    [
        ("EMERGENCY_PHONE", "+86 571-8800 0001", "tel:+8657188000001"),
        ("CONTACT_PHONE", "call javascript:alert(1)", None),
        ("EMAIL", "a.b@e.example", "mailto:a.b@e.example"),
        ("EMAIL", "a@b?subject=<x>", None),
        ("SDS_URL", "https://e.example/s.pdf", "https://e.example/s.pdf"),
        ("SDS_URL", "javascript:alert(1)", None),
        ("SITE", "88.107.1001/SITE-1", "https://id.example/id/88.107.1001/SITE-1"),
        ("NOTE", "1/2", None),
        ("NOTE", "data:text/html,x", None),
    ],
)
def test_only_harmless_content_becomes_a_link(kind, content, href):
    links = _read(_page(Value(2000, kind, content.encode()))).links
    assert links == ["?view=page&lang=en", *([href] if href else [])]


def test_titles_come_from_the_template_in_both_languages():
    page = _page(*TEMPLATES.values_of("batch", {"QUANTITY": "20 t", "NAME_EN": "Acetone"}), kind="batch")
    assert page.kind == ("批次", "batch")
    assert page.amounts[0].label == ("数量", "quantity")
    assert page.title == "Acetone"
    english = _page(Value(1, "X", b"y"), language="en")
    assert english.kind == ("object", "对象")


def test_the_points_measured_quantity_is_no_amount():
    page = _page(*TEMPLATES.values_of("point", {"QUANTITY": "压力"}), kind="point")
    assert page.amounts == ()
    assert "压力" in [fact.content for fact in page.facts]


def test_silence_about_dangers_is_said_aloud():
    assert "请按危险物品对待" in render(_page(Value(1, "NOTE", b"x"))).decode()


def test_own_words_come_before_those_of_what_is_inside():
    inside = Record(
        Identifier.parse("88.107.1001/S"), "substance", 1, Status.ACTIVE,
        TEMPLATES.values_of("substance", {"HAZARDS": "inner", "FIRST_AID": "inner aid"}), 0,
    )  # fmt: skip
    page = _page(Value(2000, "HAZARDS", b"own"), inside=[inside])
    assert [(fact.content, fact.source) for fact in page.emergency] == [
        ("own", None),
        ("inner aid", "88.107.1001/S"),
    ]


def test_what_is_inside_is_looked_up_only_when_something_is_unsaid():
    told = [Value(1, "HAZARDS", b"x"), Value(2, "FIRST_AID", b"y"), Value(3, "SUBSTANCE", b"88.1/S")]
    record = Record(Identifier.parse("88.1/X"), "batch", 1, Status.ACTIVE, tuple(told), 0)
    assert references_of(record) == ()
    untold = Record(Identifier.parse("88.1/X"), "batch", 1, Status.ACTIVE, tuple(told[1:]), 0)
    assert references_of(untold) == ("88.1/S",)


@pytest.mark.parametrize(
    ("source", "age", "words"),
    [
        (Source.AUTHORITATIVE, 0, "来自归属节点的最新信息"),
        (Source.CACHED, 95, "缓存：1 分钟前"),
        (Source.STALE, 200_000, "过期缓存：2 天前"),
    ],
)
def test_the_page_says_how_fresh_it_is(source, age, words):
    assert words in render(_page(Value(1, "X", b"y"), source=source, age=age)).decode()


def test_the_page_says_who_vouches_and_that_nobody_does():
    signed = _page(Value(1, "X", b"y"), proof=Proof("a", None, "c", (), Prefix("88.107.1001")))
    assert "88.107.1001" in [fact.content for fact in signed.vouching.lines]
    assert "无签名，未验证" in [fact.content for fact in _page(Value(1, "X", b"y")).vouching.lines]


def test_a_page_about_nothing_is_a_page_too():
    reader = _read(missing_page("88.1/<x>", ("未注册", "not registered"), language="zh"))
    assert reader.links == ["?view=page&lang=en"]
    assert "script-src" not in HEADERS["Content-Security-Policy"]
