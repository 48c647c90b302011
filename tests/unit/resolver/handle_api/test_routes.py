import base64
import json

import pytest

from registry.errors import UnavailableError
from registry.record import Status
from registry.structured import admin_data
from registry.value import FEDERATION, PRIVATE, Value
from resolver.answer import Answer, Outcome, Source
from tests.support.handle_api import NOW, PREFIX, SmallNode, a_referral

BATCH = "88.107.1001/BATCH-1"
OWN = ("300%3A0.NA/88.107.1001", "own-secret")
OTHER = ("300%3A0.NA/88.107.1002", "other")
VALUES = {"values": [{"index": 1, "type": "URL", "data": "https://e.example/b1"}]}


@pytest.fixture
def node():
    small = SmallNode()
    small.registry.put(
        BATCH,
        Value(1, "URL", b"https://e.example/b1", timestamp=NOW),
        Value(100, "HS_ADMIN", admin_data("0.NA/88.107.1001", 300), timestamp=NOW),
        Value(2000, "CAS_NO", b"67-64-1", timestamp=NOW),
        Value(2001, "NOTE", b"mine", timestamp=NOW).seen_as(PRIVATE),
    )
    return small


async def test_reading_gives_the_exact_shape_of_the_api(node):
    async with node.client() as client:
        answer = await client.get(f"/api/handles/{BATCH}")
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert body["responseCode"] == 1
    assert body["handle"] == BATCH
    assert body["values"][0] == {
        "index": 1,
        "type": "URL",
        "data": {"format": "string", "value": "https://e.example/b1"},
        "ttl": 86400,
        "timestamp": "2026-09-21T14:13:20Z",
    }
    assert body["values"][1]["data"] == {
        "format": "admin",
        "value": {"handle": "0.NA/88.107.1001", "index": 300, "permissions": "011111110011"},
    }
    assert [value["index"] for value in body["values"]] == [1, 100, 2000]
    assert body["resolution"]["source"] == "authoritative"
    assert body["resolution"]["issuer"] == "88.107.1001"
    assert body["resolution"]["withheld"] == [2001]


async def test_the_asked_spelling_is_echoed_in_answers_and_refusals(node):
    async with node.client() as client:
        assert (await client.get("/api/handles/88.107.1001/batch-1")).json()[
            "handle"
        ] == "88.107.1001/batch-1"
        missing = await client.get("/api/handles/88.107.1001/No%2FSuch%25")
    assert missing.status_code == 404
    assert (missing.json()["responseCode"], missing.json()["handle"]) == (100, "88.107.1001/No/Such%")


async def test_values_are_chosen_by_index_and_type_united(node):
    async with node.client() as client:
        answer = await client.get(f"/api/handles/{BATCH}?index=1&type=CAS_NO")
    assert [value["index"] for value in answer.json()["values"]] == [1, 2000]


async def test_values_that_are_not_there_are_code_200_with_status_200_on_reading(node):
    async with node.client() as client:
        answer = await client.get(f"/api/handles/{BATCH}?index=77")
    assert answer.status_code == 200
    assert (answer.json()["responseCode"], answer.json()["values"]) == (200, [])


@pytest.mark.parametrize(
    ("query", "auth", "status", "code"),
    [
        ("", None, 200, 1),
        ("publicOnly=false", None, 401, 402),
        ("publicOnly=false&index=1", None, 200, 1),
        ("publicOnly=false", OTHER, 403, 400),
        ("publicOnly=false", OWN, 200, 1),
        ("publicOnly", OWN, 200, 1),
    ],
)
async def test_hidden_values_are_asked_for_by_a_login_only_when_insisted_on(node, query, auth, status, code):
    async with node.client(auth=auth) as client:
        answer = await client.get(f"/api/handles/{BATCH}?{query}")
    assert answer.status_code == status
    assert answer.json()["responseCode"] == code
    assert answer.json()["handle"] == BATCH
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Basic ")
    if code == 1:
        seen = 2001 in [value["index"] for value in answer.json()["values"]]
        assert seen == (auth == OWN and query == "publicOnly=false")


async def test_the_owner_sees_private_values_with_their_permissions(node):
    async with node.client(auth=OWN) as client:
        values = (await client.get(f"/api/handles/{BATCH}")).json()["values"]
    assert (values[-1]["permissions"], values[-1]["visibility"]) == ("1100", "private")


async def test_wrong_credentials_are_401_with_an_empty_body(node):
    async with node.client(auth=(OWN[0], "wrong")) as client:
        answer = await client.put(f"/api/handles/{BATCH}", json=VALUES)
    assert (answer.status_code, answer.content) == (401, b"")


async def test_writing_without_a_login_asks_for_one_in_the_envelope(node):
    async with node.client() as client:
        answer = await client.put(f"/api/handles/{BATCH}", json=VALUES)
    assert answer.status_code == 401
    assert (answer.json()["responseCode"], answer.json()["handle"]) == (402, BATCH)


async def test_writing_under_another_prefix_is_refused_in_the_envelope(node):
    async with node.client(auth=OTHER) as client:
        answer = await client.put(f"/api/handles/{BATCH}", json=VALUES)
    assert (answer.status_code, answer.json()["responseCode"], answer.json()["handle"]) == (403, 400, BATCH)


async def test_creating_is_201_then_repeating_200_and_other_content_409(node):
    url = "/api/handles/88.107.1001/NEW?overwrite=false"
    other = {"values": [{"index": 1, "type": "URL", "data": "https://e.example/other"}]}
    async with node.client(auth=OWN) as client:
        first, again, clash = [await client.put(url, json=body) for body in (VALUES, VALUES, other)]
        replaced = await client.put("/api/handles/88.107.1001/NEW", json=other)
    assert [(r.status_code, r.json()["responseCode"]) for r in (first, again, clash, replaced)] == [
        (201, 1), (200, 1), (409, 101), (200, 1),
    ]  # fmt: skip
    assert first.json() == {"responseCode": 1, "handle": "88.107.1001/NEW"}


@pytest.mark.parametrize("body", [VALUES, VALUES["values"], VALUES["values"][0], {**VALUES, "handle": BATCH}])
async def test_a_body_has_one_of_three_shapes(node, body):
    async with node.client(auth=OWN) as client:
        assert (await client.put(f"/api/handles/{BATCH}", json=body)).status_code == 200


async def test_single_values_are_added_and_replaced_when_the_indexes_agree(node):
    value = {"index": 2002, "type": "NOTE2", "data": {"format": "base64", "value": "/w=="}}
    async with node.client(auth=OWN) as client:
        added = await client.put(f"/api/handles/{BATCH}?index=2002", json=[value])
        taken = await client.put(f"/api/handles/{BATCH}?index=various&overwrite=false", json=[value])
        replaced = await client.put(f"/api/handles/{BATCH}?index=various", json=[value])
        differ = await client.put(f"/api/handles/{BATCH}?index=3", json=[value])
        read = await client.get(f"/api/handles/{BATCH}?index=2002")
    assert [(r.status_code, r.json()["responseCode"]) for r in (added, taken, replaced, differ)] == [
        (201, 1), (409, 201), (200, 1), (400, 4),
    ]  # fmt: skip
    assert read.json()["values"][0]["data"] == {"format": "base64", "value": "/w=="}


async def test_a_value_that_was_not_public_stays_so_until_the_client_says_otherwise(node):
    async def put(entry):
        entry = {"index": 2001, "type": "NOTE", "data": "new", **entry}
        await client.put(f"/api/handles/{BATCH}?index=2001", json=[entry])
        return node.registry.kept[BATCH].value(2001).visibility

    async with node.client(auth=OWN) as client:
        assert await put({}) == PRIVATE
        assert await put({"visibility": "federation"}) == FEDERATION
        assert await put({"permissions": "1100"}) == FEDERATION
        assert (await put({"visibility": ["88.107"]})).prefixes == ("88.107",)
        assert (await put({"permissions": "1110"})).is_public


async def test_a_private_field_of_a_template_is_private_without_being_told(node):
    template = node.templates.newest("worker")
    fields = {"ROLE": "operator", "NAME": "王小明"}
    required = {name: "x" for name in template.document.get("required", ()) if name not in fields}
    assert not required, "the sample below names every field that the template asks for"
    values = [
        {"index": 1000, "type": "TEMPLATE", "data": "worker"},
        *(
            {"index": template.fields[name].index, "type": name, "data": text}
            for name, text in fields.items()
        ),
    ]
    async with node.client(auth=OWN) as client:
        answer = await client.put("/api/handles/88.107.1001/W-0001", json=values)
        public = await client.get("/api/handles/88.107.1001/W-0001?publicOnly")
    assert answer.status_code == 201, answer.text
    assert [value["type"] for value in public.json()["values"]] == ["TEMPLATE", "TEMPLATE_VERSION", "ROLE"]


async def test_removing_values_and_deleting_leave_what_the_api_promises(node):
    async with node.client(auth=OWN) as client:
        removed = await client.delete(f"/api/handles/{BATCH}?index=2000")
        absent = await client.delete(f"/api/handles/{BATCH}?index=2000")
        various = await client.delete(f"/api/handles/{BATCH}?index=various")
        gone = await client.delete(f"/api/handles/{BATCH}?reason=wrong%20label&replacedBy=88.107.1001/B2")
        twice = await client.delete(f"/api/handles/{BATCH}")
        read = await client.get(f"/api/handles/{BATCH}")
    results = [
        (r.status_code, r.json()["responseCode"]) for r in (removed, absent, various, gone, twice, read)
    ]
    assert results == [(200, 1), (400, 200), (400, 4), (200, 1), (404, 100), (404, 100)]
    stone = read.json()["tombstone"]
    assert (stone["state"], stone["reason"], stone["replacedBy"]) == (
        "deleted",
        "wrong label",
        ["88.107.1001/B2"],
    )
    assert twice.json()["handle"] == BATCH


async def test_a_withdrawn_record_goes_on_resolving_with_its_tombstone(node):
    node.registry.tombstone(BATCH, Status.WITHDRAWN, "recalled")
    async with node.client() as client:
        body = (await client.get(f"/api/handles/{BATCH}")).json()
    assert body["responseCode"] == 1
    assert body["resolution"]["status"] == "withdrawn"
    assert any(value["type"] == "HZ_TOMBSTONE" for value in body["values"])


async def test_a_minted_suffix_completes_what_the_client_began(node):
    async with node.client(auth=OWN) as client:
        bare = await client.put("/api/handles/88.107.1001?mintNewSuffix=true", json=VALUES)
        begun = await client.put("/api/handles/88.107.1001/DRUM-?mintNewSuffix", json=VALUES)
    assert bare.json()["handle"] == "88.107.1001/AAAQEAYEAUDAOCAJ"
    assert begun.json()["handle"] == "88.107.1001/DRUM-AAAQEAYEAUDAOCAJ"
    assert bare.status_code == begun.status_code == 201


@pytest.mark.parametrize(
    ("body", "kind", "code", "where"),
    [
        ("{", "application/json", 4, "JSON"),
        ("[]", "application/json", 4, "no value"),
        ("3", "application/json", 4, "array"),
        ("{}", "text/plain", 4, "Content-Type"),
        ('[{"index":0,"type":"URL","data":"x"}]', "application/json", 202, "values[0].index"),
        ('[{"index":1,"data":"x"}]', "application/json", 202, "values[0].type"),
        ('[{"index":1,"type":"URL","data":{"format":"hex","value":"zz"}}]', "application/json", 202, "hex"),
        ('[{"index":1,"type":"URL","data":"x","ttl":-1}]', "application/json", 202, "values[0].ttl"),
        ('[{"index":1,"type":"URL","data":"x","permissions":"99"}]', "application/json", 202, "permissions"),
        ('[{"index":300,"type":"HS_SECKEY","data":"x"}]', "application/json", 202, "secret"),
        (
            '[{"index":100,"type":"HS_ADMIN","data":{"format":"admin","value":{"handle":"0.NA/88"}}}]',
            "application/json", 202, "permissions",
        ),
        ('{"handle":"88.1/x","values":[]}', "application/json", 4, "88.1/x"),
        (
            '[{"index":1,"type":"A","data":"x"},{"index":1,"type":"B","data":"y"}]',
            "application/json", 4, "twice",
        ),
    ],
)  # fmt: skip
async def test_a_bad_body_is_refused_by_field_and_rule(node, body, kind, code, where):
    async with node.client(auth=OWN) as client:
        headers = {"content-type": kind, "accept-language": "en"}
        answer = await client.put(f"/api/handles/{BATCH}", content=body, headers=headers)
    assert (answer.status_code, answer.json()["responseCode"]) == (400, code)
    assert where in answer.json()["message"]
    assert answer.json()["handle"] == BATCH


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/handles/", 102),
        ("/api/handles/?URL=*", 102),
        ("/api/handles/88..1/x", 102),
        ("/api/handles/88.1/a%00b", 102),
        ("/api/handles/88.1/a%zz", 102),
        ("/api/handles/88.1/%FF", 102),
        ("/api/handles/88.1/x?index=0", 4),
        ("/api/handles/88.1/x?index=various", 4),
        ("/api/handles/88.1/x?auth=perhaps", 4),
    ],
)
async def test_a_bad_path_or_parameter_is_refused(node, path, code):
    async with node.client() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["responseCode"]) == (400, code)


async def test_listing_pages_counts_and_asks_for_a_login(node):
    for number in range(5):
        node.registry.put(f"88.107.1001/L{number}", Value(1, "URL", b"https://e.example"))
    async with node.client(auth=OWN) as client:
        count = (await client.get("/api/handles?prefix=88.107.1001&pageSize=0")).json()
        page = (await client.get("/api/handles?prefix=0.NA/88.107.1001&page=1&pageSize=4")).json()
        slash = await client.get("/api/handles/?prefix=88.107.1001&pageSize=0")
        nothing = await client.get("/api/handles")
        elsewhere = await client.get("/api/handles?prefix=88.9")
    assert (count["totalCount"], count["handles"]) == ("6", [])
    assert page["handles"] == ["88.107.1001/L3", "88.107.1001/L4"]
    assert (page["page"], page["pageSize"], page["prefix"]) == (1, 4, "0.NA/88.107.1001")
    assert slash.json()["totalCount"] == "6"
    assert (nothing.status_code, nothing.json()["responseCode"]) == (400, 102)
    assert (elsewhere.status_code, elsewhere.json()["responseCode"]) == (400, 301)
    async with node.client() as client:
        assert (await client.get("/api/handles?prefix=88.107.1001")).json()["responseCode"] == 402
        assert (await client.get("/api/handles/?prefix=88.107.1001")).json()["responseCode"] == 402
    async with node.client(auth=OTHER) as client:
        assert (await client.get("/api/handles?prefix=88.107.1001")).status_code == 403


async def test_searching_gives_an_array_of_handles(node):
    async with node.client(auth=OWN) as client:
        found = await client.get("/hrls/handles?URL=*E.EXAMPLE*&CAS_NO=67-*")
        below = await client.get("/hrls/handles/88.107.1001?NOTE=mine&limit=1&page=0")
        nothing = await client.get("/hrls/handles?URL=nowhere")
        empty = await client.get("/hrls/handles")
        ping = await client.get("/hrls/ping")
    assert found.json() == [BATCH]
    assert below.json() == [BATCH]
    assert nothing.json() == []
    assert empty.status_code == 400
    assert ping.text == "OK"
    async with node.client(auth=(OWN[0], "wrong")) as client:
        assert (await client.get("/hrls/handles?URL=*")).status_code == 401
    async with node.client() as client:
        assert (await client.get("/hrls/handles?URL=*")).status_code == 401


async def test_a_search_is_paged_by_walking(node):
    for number in range(7):
        node.registry.put(f"88.107.1001/S{number}", Value(1, "TAG", b"here"))
    async with node.client(auth=OWN) as client:
        pages = [(await client.get(f"/hrls/handles?TAG=here&limit=3&page={n}")).json() for n in range(4)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert len({handle for page in pages for handle in page}) == 7


async def test_referrals_carry_the_statements_unless_they_are_not_wanted(node):
    asked = "88.107.1002/X"
    node.resolver.answers[asked] = a_referral(asked)
    async with node.client() as client:
        refers = await client.get(f"/api/handles/{asked}?recurse=false")
        refuses = await client.get(f"/api/handles/{asked}?recurse=false&doNotRefer")
    assert refers.status_code == 300
    assert (refers.json()["responseCode"], refers.json()["referralHandle"]) == (303, "0.NA/88.107.1002")
    assert refers.json()["values"][0]["data"]["value"] == "leaf.jws.a"
    assert (refuses.status_code, refuses.json()["responseCode"]) == (400, 301)
    assert node.resolver.asked[0].recurse is False


async def test_parameters_reach_the_question(node):
    async with node.client() as client:
        await client.get(f"/api/handles/{BATCH}?auth&cert=true&index=1&index=2&type=URL.&type=EMAIL")
        await client.post(
            f"/api/handles/{BATCH}",
            json={"auth": True, "cert": True, "index": [1, 2], "type": ["URL.", "EMAIL"]},
        )
    first, second = node.resolver.asked
    assert first == second
    assert first.authoritative
    assert first.with_chain
    assert (first.indexes, first.types) == (frozenset({1, 2}), ("URL.", "EMAIL"))


async def test_a_failed_look_up_says_which_kind(node):
    error = UnavailableError("resolver.handle_api.internal", retry_after=3)
    node.resolver.answers[BATCH] = Answer(BATCH, Outcome.FAILED, error=error)
    async with node.client() as client:
        answer = await client.get(f"/api/handles/{BATCH}")
    assert (answer.status_code, answer.json()["responseCode"], answer.headers["retry-after"]) == (503, 3, "3")


async def test_cached_and_stale_answers_say_so_and_how_old_they_are(node):
    node.resolver.source, node.resolver.age = Source.STALE, 42
    async with node.client() as client:
        answer = await client.get(f"/api/handles/{BATCH}?cert")
    assert answer.headers["age"] == "42"
    assert answer.json()["resolution"]["source"] == "stale"
    assert answer.json()["proof"]["publicJws"] == "h.p.s"


async def test_pretty_and_jsonp_and_head_and_options(node):
    async with node.client() as client:
        pretty = await client.get(f"/api/handles/{BATCH}?pretty")
        called = await client.get(f"/api/handles/{BATCH}?callback=a.b(1)$_")
        head = await client.head(f"/api/handles/{BATCH}")
        options = await client.options(f"/api/handles/{BATCH}")
        refused = await client.get("/api/handles/88.107.1001/NO?callback=f&pretty")
        patch = await client.patch(f"/api/handles/{BATCH}")
    assert b'\n  "responseCode": 1' in pretty.content
    assert called.text.startswith("ab1$_({") and called.text.endswith("});")  # noqa: PT018 — one form, both ends of it
    assert called.headers["content-type"].startswith("application/javascript")
    assert head.status_code == 200
    assert options.status_code == 204
    assert "PUT" in options.headers["allow"]
    assert options.headers["access-control-allow-origin"] == "*"
    assert json.loads(refused.text.removeprefix("f(").removesuffix(");"))["responseCode"] == 100
    assert patch.status_code == 405


async def test_versions_travel_as_entity_tags(node):
    async with node.client(auth=OWN) as client:
        assert (await client.get(f"/api/handles/{BATCH}")).headers["etag"] == '"1"'
        bad = await client.put(f"/api/handles/{BATCH}", json=VALUES, headers={"if-match": "one"})
        good = await client.put(f"/api/handles/{BATCH}", json=VALUES, headers={"if-match": '"1"'})
    assert (bad.status_code, bad.json()["responseCode"]) == (400, 4)
    assert good.headers["etag"] == '"2"'


async def test_prefixes_are_listed_and_hosted_and_not_given_up(node):
    async with node.client(auth=OWN) as client:
        listed = await client.get("/api/prefixes")
        hosted = await client.post("/api/prefixes/0.NA/88.107.1001.5")
        again = await client.get("/api/prefixes?page=1&pageSize=1")
        foreign = await client.post("/api/prefixes/88.9.9")
        unhome = await client.delete("/api/prefixes/88.107.1001")
    assert listed.json()["prefixes"] == [f"0.NA/{PREFIX}"]
    assert hosted.json() == {"responseCode": 1, "handle": "0.NA/88.107.1001.5"}
    assert again.json()["prefixes"] == ["0.NA/88.107.1001.5"]
    assert foreign.json()["responseCode"] == 301
    assert (unhome.status_code, unhome.json()["responseCode"]) == (501, 5)


async def test_the_site_is_public_and_sessions_are_honestly_not_there(node):
    async with node.client() as client:
        site = await client.get("/api/site")
        session = await client.post("/api/sessions")
        this = await client.get("/api/sessions/this")
        verification = await client.get("/api/verifications/300:0.NA/88")
    assert site.json() == {"responseCode": 1, "site": {"version": 1, "servers": []}}
    assert [(r.status_code, r.json()["responseCode"]) for r in (session, this, verification)] == [
        (501, 5)
    ] * 3


async def test_bytes_that_are_not_what_their_type_says_are_shown_as_bytes(node):
    node.registry.put("88.107.1001/ODD", Value(100, "HS_ADMIN", b"\xff\x01", timestamp=NOW))
    async with node.client() as client:
        answer = await client.get("/api/handles/88.107.1001/ODD")
    assert base64.b64decode(answer.json()["values"][0]["data"]["value"]) == b"\xff\x01"


def test_every_route_declares_what_it_needs(node):
    from resolver.handle_api.routes import ACCESS, router

    doors = {f"{method} {route.path}" for route in router.routes for method in route.methods}
    assert doors == set(ACCESS)
