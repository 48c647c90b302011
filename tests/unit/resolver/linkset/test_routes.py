import pytest

from registry.errors import UnavailableError
from registry.record import Status
from registry.value import PRIVATE, Value
from resolver.answer import Answer, Outcome, Source
from resolver.links import DEFAULT_LINK, GS1, LINKSET_TYPE
from resolver.linkset.routes import ACCESS, router
from tests.support.handle_api import TEMPLATES, SmallNode, a_referral

DRUM = "88.107.1001/DRUM-7"
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROGRAM = {"accept": "*/*"}


@pytest.fixture
def node():
    small = SmallNode()
    small.registry.put(
        DRUM,
        *TEMPLATES.values_of("container", {
            "NAME_ZH": "丙酮钢桶", "URL": "https://e.example/drum?a=1#top", "SDS_URL": "https://e.example/sds.pdf",
            "SUBSTANCE": "88.107.1001/SUB-1", "CONTENT": "180 kg", "EMERGENCY_PHONE": "0571-8800 0001",
        }),
        Value(2999, "ERP_NO", b"E-7").seen_as(PRIVATE),
        kind="container",
    )  # fmt: skip
    small.registry.put(
        "88.107.1001/SUB-1",
        *TEMPLATES.values_of(
            "substance", {"NAME_ZH": "丙酮", "HAZARDS": "高度易燃", "FIRST_AID": "移至空气新鲜处"}
        ),
        kind="substance",
    )
    return small


def _check_common(answer):
    assert 'rel="linkset"; type="application/linkset+json"' in answer.headers["link"]
    assert "Accept, Accept-Language" in answer.headers["vary"]
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_browser_gets_our_own_page_whatever_it_asks_for(node):
    async with node.client(headers=BROWSER) as client:
        for query in ("", "?linkType=gs1:safetyInfo", "?view=page"):
            answer = await client.get(f"/id/{DRUM}{query}")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/html;charset=UTF-8"
            _check_common(answer)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in answer.text


async def test_the_page_shows_dangers_of_what_is_inside_and_nothing_private(node):
    async with node.client(headers=BROWSER) as client:
        text = (await client.get(f"/id/{DRUM}")).text
    for word in ("丙酮钢桶", "高度易燃", "移至空气新鲜处", "88.107.1001/SUB-1", "180 kg", "tel:057188000001"):
        assert word in text
    assert "E-7" not in text


async def test_a_program_is_sent_to_the_default_link_with_its_own_parameters(node):
    async with node.client(headers=PROGRAM) as client:
        answer = await client.get(f"/id/{DRUM}?lot=a%20b&lang=en")
        none = await client.get("/id/88.107.1001/SUB-1")
    assert answer.status_code == 307
    assert answer.headers["location"] == "https://e.example/drum?a=1&lot=a+b#top"
    _check_common(answer)
    assert none.headers["location"] == "https://id.example/id/88.107.1001/SUB-1?view=page"
    async with node.client(headers=PROGRAM) as client:
        assert (await client.get(none.headers["location"])).status_code == 200, "no loop"


async def test_a_link_type_redirects_a_program(node):
    async with node.client(headers=PROGRAM) as client:
        sds = await client.get(f"/id/{DRUM}?linkType=gs1:safetyInfo")
        missing = await client.get(f"/id/{DRUM}?linkType=gs1:traceability")
        default = await client.get(f"/id/{DRUM}?linkType=gs1:defaultLink")
    assert (sds.status_code, sds.headers["location"]) == (307, "https://e.example/sds.pdf")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    _check_common(missing)
    assert default.headers["location"] == "https://e.example/drum?a=1#top"


async def test_links_that_fit_equally_well_are_offered_all(node):
    node.registry.put(
        "88.107.1001/TWO", Value(1, "SDS_ZH_URL", b"https://e/z"), Value(2, "SDS_EN_URL", b"https://e/e")
    )
    async with node.client(headers=PROGRAM) as client:
        tie = await client.get("/id/88.107.1001/TWO?linkType=safetyInfo")
        chosen = await client.get(
            "/id/88.107.1001/TWO?linkType=safetyInfo", headers={"accept-language": "en-GB"}
        )
    assert tie.status_code == 300
    (context,) = tie.json()["linkset"]
    assert {target["href"] for target in context[GS1 + "safetyInfo"]} == {"https://e/z", "https://e/e"}
    assert len(context[DEFAULT_LINK]) == 1
    assert chosen.headers["location"] == "https://e/e"


@pytest.mark.parametrize(
    ("headers", "query"),
    [(BROWSER, "?linkType=linkset"), (PROGRAM, "?linkType=all"), ({"accept": LINKSET_TYPE}, "")],
)
async def test_the_linkset_is_given_and_never_redirected(node, headers, query):
    async with node.client(headers=headers) as client:
        answer = await client.get(f"/id/{DRUM}{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == LINKSET_TYPE
    (context,) = answer.json()["linkset"]
    assert context["anchor"] == f"https://id.example/id/{DRUM}"
    assert context["itemDescription"] == "丙酮钢桶"
    assert context[DEFAULT_LINK][0]["href"] == "https://e.example/drum?a=1#top"
    assert context[GS1 + "safetyInfo"][0]["type"] == "application/pdf"
    _check_common(answer)


async def test_a_withdrawn_object_is_gone_but_still_shows_its_dangers(node):
    node.registry.tombstone(DRUM, Status.WITHDRAWN, "泄漏", ("88.107.1001/DRUM-8",))
    async with node.client() as client:
        page = await client.get(f"/id/{DRUM}", headers=BROWSER)
        plain = await client.get(f"/id/{DRUM}", headers=PROGRAM)
        typed = await client.get(f"/id/{DRUM}?linkType=gs1:safetyInfo", headers=PROGRAM)
    assert [answer.status_code for answer in (page, plain, typed)] == [410, 410, 410]
    for word in (
        "已停用",
        "WITHDRAWN",
        "泄漏",
        "高度易燃",
        'href="https://id.example/id/88.107.1001/DRUM-8"',
    ):
        assert word in page.text
    (context,) = plain.json()["linkset"]
    assert context["successor-version"][0]["href"] == "https://id.example/id/88.107.1001/DRUM-8"


async def test_a_deleted_object_is_gone_with_what_replaces_it(node):
    node.registry.tombstone(DRUM, Status.DELETED, "typing error", ("88.107.1001/DRUM-8",))
    async with node.client() as client:
        page = await client.get(f"/id/{DRUM}", headers=BROWSER | {"accept-language": "en"})
        plain = await client.get(f"/id/{DRUM}", headers=PROGRAM)
    assert (page.status_code, plain.status_code) == (410, 410)
    assert "DELETED" in page.text
    assert "successor-version" in plain.json()["linkset"][0]


async def test_a_trailing_slash_is_tried_as_it_stands_and_then_without(node):
    node.registry.put("88.107.1001/A/", Value(1, "URL", b"https://e.example/slash"))
    node.registry.put("88.107.1001/A", Value(1, "URL", b"https://e.example/bare"))
    async with node.client(headers=PROGRAM) as client:
        assert (await client.get("/id/88.107.1001/A/")).headers["location"].endswith("/slash")
        assert (await client.get(f"/id/{DRUM}/")).status_code == 307
        assert (await client.get("/id/88.107.1001/NONE/")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/id/88.107.1001/NO", 404),
        ("/id/", 404),
        ("/id/88..1/x", 400),
        ("/id/88.1/%zz", 400),
        ("/id/88.1/%00", 400),
        ("/id/88.107.1002/ELSEWHERE", 421),
        ("/id/88.107.1001/BROKEN", 503),
    ],
)
async def test_refusals_suit_the_reader_and_are_never_200(node, path, status):
    node.resolver.answers["88.107.1002/ELSEWHERE"] = a_referral("88.107.1002/ELSEWHERE")
    failed = Answer("x", Outcome.FAILED, error=UnavailableError("resolver.scan.nothing"))
    node.resolver.answers["88.107.1001/BROKEN"] = failed
    async with node.client() as client:
        page = await client.get(path, headers=BROWSER)
        plain = await client.get(path, headers=PROGRAM)
    assert (page.status_code, plain.status_code) == (status, status)
    assert page.headers["content-type"].startswith("text/html")
    assert plain.headers["content-type"] == "application/problem+json"
    for answer in (page, plain):
        _check_common(answer)


async def test_a_stale_answer_is_marked_on_the_page(node):
    node.resolver.source, node.resolver.age = Source.STALE, 7_300
    async with node.client(headers=BROWSER) as client:
        text = (await client.get(f"/id/{DRUM}")).text
        english = (await client.get(f"/id/{DRUM}?lang=en")).text
    assert 'class="banner stale"' in text
    assert "2 小时前" in text
    assert "This is 2 h old" in english


async def test_head_and_options_and_a_login(node):
    async with node.client() as client:
        head = await client.head(f"/id/{DRUM}", headers=PROGRAM)
        options = await client.options(f"/id/{DRUM}")
        wrong = await client.get(f"/id/{DRUM}", headers=PROGRAM, auth=("300%3A0.NA/88.107.1001", "no"))
        owner = await client.get(
            f"/id/{DRUM}", headers=BROWSER, auth=("300%3A0.NA/88.107.1001", "own-secret")
        )
    assert head.status_code == 307
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert wrong.status_code == 401
    assert "E-7" in owner.text
    assert owner.headers["cache-control"] == "private, no-store"
    for answer in (head, options, wrong, owner):
        _check_common(answer)


async def test_an_escaped_slash_belongs_to_the_suffix(node):
    node.registry.put("88.107.1001/批次/1%", Value(1, "URL", b"https://e.example/odd"))
    async with node.client(headers=PROGRAM) as client:
        answer = await client.get("/id/88.107.1001/%E6%89%B9%E6%AC%A1%2F1%25")
    assert answer.headers["location"] == "https://e.example/odd"


def test_every_route_declares_what_it_needs():
    assert {f"{method} {route.path}" for route in router.routes for method in route.methods} == set(ACCESS)
