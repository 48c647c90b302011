import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.links import GS1, LINKSET_TYPE, Link
from resolver.linkset.negotiation import Form, accepted, nearest, wish

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "link_type", "view", "form"),
    [
        (CHROME, None, None, Form.PAGE),
        (CHROME, "gs1:safetyInfo", None, Form.PAGE),
        (CHROME, "linkset", None, Form.LINKSET),
        (CHROME, "all", "page", Form.LINKSET),
        ("*/*", None, None, Form.REDIRECT),
        (None, None, None, Form.REDIRECT),
        ("*/*", None, "page", Form.PAGE),
        (LINKSET_TYPE, None, None, Form.LINKSET),
        ("application/json", None, None, Form.LINKSET),
        ("application/json", "gs1:safetyInfo", None, Form.REDIRECT),
        (f"{LINKSET_TYPE}, text/html;q=0.5", None, None, Form.LINKSET),
        ("text/html;q=0", None, None, Form.REDIRECT),
    ],
)
def test_what_a_caller_wants_follows_from_its_headers_and_parameters(accept, link_type, view, form):
    assert wish(accept=accept, link_type=link_type, view=view).form is form


def test_a_linkset_is_labelled_as_it_was_asked_for():
    assert wish(accept="application/json", link_type=None, view=None).media_type == "application/json"
    assert wish(accept=LINKSET_TYPE, link_type=None, view=None).media_type == LINKSET_TYPE


@given(st.text(max_size=80))
def test_any_header_is_read(header):
    assert all(0 <= weight <= 1 for weight in accepted(header).values())


def _link(href, **more):
    return Link(rel=GS1 + "safetyInfo", href=href, title={"zh": "", "en": ""}, **more)


ZH = _link("https://e/zh", type="application/pdf", hreflang=("zh",))
EN = _link("https://e/en", type="application/pdf", hreflang=("en",))
PLAIN = _link("https://e/x", type="text/html")


@pytest.mark.parametrize(
    ("accept", "language", "chosen"),
    [
        ("*/*", "zh-CN,en;q=0.5", (ZH,)),
        ("*/*", "en", (EN,)),
        ("*/*", "fr", (ZH, EN, PLAIN)),
        ("*/*", None, (ZH, EN, PLAIN)),
        ("text/html", None, (PLAIN,)),
        ("application/*", None, (ZH, EN)),
    ],
)
def test_the_best_link_is_chosen_by_language_then_by_media_type(accept, language, chosen):
    assert nearest([ZH, EN, PLAIN], accept=accept, accept_language=language) == chosen
