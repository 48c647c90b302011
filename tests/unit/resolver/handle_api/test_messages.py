import pytest

from registry.errors import HANDLE_CODE, InternalError, Kind, RateLimitError
from resolver.handle_api.messages import CODE_STATUS, describes, refusal, rendered


def test_every_kind_of_refusal_has_a_handle_code_with_a_status():
    assert {HANDLE_CODE[kind] for kind in Kind} <= set(CODE_STATUS)


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/api/handles/88.1/x", True),
        ("/api/handles", True),
        ("/hrls/ping", True),
        ("/api/site", True),
        ("/api/handlesome", False),
        ("/id/88.1/x", False),
        ("/accounts/api/handles/", False),
    ],
)
def test_the_door_knows_its_paths(path, ours):
    assert describes(path) is ours


def test_our_own_mistakes_are_told_without_their_text():
    made = refusal(InternalError("resolver.handle_api.reason"), "88.1/x", "en")
    assert made.status == 500
    assert made.content == {"responseCode": 2, "handle": "88.1/x", "message": made.content["message"]}
    assert "log" in made.content["message"]


def test_who_asks_too_often_hears_when_to_come_back():
    made = refusal(RateLimitError("resolver.handle_api.reason"), None)
    assert (made.status, made.headers["Retry-After"]) == (503, "1")
    assert "handle" not in made.content


def test_a_callback_name_is_scrubbed_and_an_empty_one_is_none():
    assert rendered({"a": 1}, callback="alert(1)//")[0] == b'alert1({"a":1});'
    assert rendered({"a": 1}, callback="()")[0] == b'{"a":1}'
    assert rendered({"a": 1}, pretty="false")[0] == b'{"a":1}'
