import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from node import problems
from registry import errors
from registry.errors import HTTP_STATUS, HazlinkError, InternalError, Kind, RateLimitError, UnavailableError


def all_errors(kind=HazlinkError):
    yield kind
    for below in kind.__subclasses__():
        yield from all_errors(below)


def an_error(kind) -> HazlinkError:
    return kind("registry.access.forbidden", field="prefix", who="a", operation="b", prefix="c")


@pytest.mark.parametrize("kind", sorted(set(all_errors()), key=lambda kind: kind.__name__))
def test_every_kind_of_refusal_has_a_problem_in_both_languages(kind):
    error = an_error(kind)
    for language in ("zh", "en"):
        status, body = problems.problem(error, accept_language=language)
        assert status == HTTP_STATUS[error.kind] == body["status"]
        assert body["type"].endswith(error.kind.value)
        assert body["title"]
        assert body["detail"] == body[f"detail_{language}"]


def test_the_titles_cover_every_kind():
    assert set(Kind) == {error.kind for error in (an_error(k) for k in all_errors())}
    assert errors.Kind.GONE in HTTP_STATUS


def test_our_own_mistakes_are_told_in_short():
    _, body = problems.problem(an_error(InternalError), accept_language="en", request_id="7")
    assert "forbidden" not in str(body)
    assert body["instance"] == "7"


class Item(BaseModel):
    count: int


def an_app() -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app)

    @app.get("/busy")
    async def busy():
        raise UnavailableError("node.health.stopping", retry_after=1.2)

    @app.get("/rate")
    async def rate():
        raise RateLimitError("node.limits.rate", who="x", retry_after=0.01)

    @app.get("/broken")
    async def broken():
        raise RuntimeError("the password is hunter2")

    @app.post("/items")
    async def items(item: Item):
        return item

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport, base_url="http://node.test", headers={"accept-language": "en"}
    )


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "node.problems.path"),
        ("DELETE", "/items", None, 405, "node.problems.method"),
        ("POST", "/items", b'{"count": "many"}', 422, "node.rules.int_parsing"),
        ("POST", "/items", b"{", 400, "node.problems.json"),
        ("GET", "/busy", None, 503, "node.health.stopping"),
        ("GET", "/broken", None, 500, "node.problems.internal_detail"),
    ],
)
async def test_whatever_goes_wrong_leaves_as_a_problem(method, path, content, status, code):
    async with an_app() as client:
        answer = await client.request(
            method, path, content=content, headers={"content-type": "application/json"}
        )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert "hunter2" not in answer.text


async def test_retry_after_is_whole_seconds_and_at_least_one():
    async with an_app() as client:
        assert (await client.get("/busy")).headers["retry-after"] == "2"
        assert (await client.get("/rate")).headers["retry-after"] == "1"


async def test_refusals_of_the_handle_api_keep_its_form():
    async with an_app() as client:
        answer = await client.get("/api/handles/88.107/X")
    assert answer.json() == {"responseCode": 100, "handle": "88.107/X", "message": answer.json()["message"]}
