"""Per-value visibility at every door of a running node: nothing is seen, found or guessed by those who may not."""

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from proto import registry_pb2, resolver_pb2
from registry.record import Draft
from registry.value import FEDERATION, PRIVATE, Scope, Value, Visibility
from tests.support.node import an_admin
from tests.support.served import ANONYMOUS, ELSE, NODE, OWN, PARK, ROLES, Served, served

HANDLE = f"{OWN}/SECRETS"
WORDS = {
    "public": "open-word",
    "federation": "allied-word",
    "prefixes": "partner-word",
    "private": "inner-word",
}
OWNERS = frozenset({"reader", "editor", "auditor", "operator", "admin"})
SEEN = {role: frozenset(WORDS) for role in OWNERS} | {
    ANONYMOUS: frozenset({"public"}),
    NODE: frozenset({"public", "federation"}),
    "admin above": frozenset({"public", "federation"}),
    "admin elsewhere": frozenset({"public", "federation", "prefixes"}),
}
_RESOLVER, _REGISTRY = "/hazlink.resolver.v1.Resolver/", "/hazlink.registry.v1.Registry/"
_TOKEN = re.compile(rb"[A-Za-z0-9_+/-]{16,}={0,2}")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with served(tmp_path_factory.mktemp("visibility")) as made:
        by = an_admin(OWN, ELSE, PARK, name="test@88")
        scopes = {
            "public": Visibility(),
            "federation": FEDERATION,
            "prefixes": Visibility(Scope.PREFIXES, (ELSE.key,)),
            "private": PRIVATE,
        }
        values = [
            Value(place, f"{word.upper().replace('-', '_')}_TYPE", word.encode()).seen_as(scopes[name])
            for place, (name, word) in enumerate(WORDS.items(), start=1)
        ]
        values.append(Value(5, "URL", f"https://{WORDS['private']}.example/".encode()).seen_as(PRIVATE))
        for spelling in (HANDLE, f"{OWN}/SECRETS-2"):
            made.node.registry.register(by, Draft(identifier=spelling, values=tuple(values)))
        yield made


# what comes out of a door, headers and refusals included


def over_http(house: Served, role: str, method: str, path: str, **options: Any) -> bytes:
    headers = house.header(role) | options.pop("headers", {})
    answer = house.plain.request(method, path, headers=headers, **options)
    told = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    return f"{answer.status_code}\n{told}\n\n".encode() + answer.content


def over_grpc(house: Served, role: str, method: str, request: Any) -> bytes:
    call = house.plain_channel.stream_stream(method)(
        iter([request.SerializeToString()]), metadata=house.metadata(role), timeout=20
    )
    out = []
    try:
        out = list(call)
    except grpc.RpcError as error:
        out.append(f"{error.code()} {error.details()} {error.trailing_metadata()}".encode())
    return b"\n".join(out)


def batch_over_http(house: Served, role: str) -> bytes:
    body = resolver_pb2.BatchResolveRequest(identifiers=[HANDLE], with_chain=True).SerializeToString()
    kind = {"content-type": "application/x-protobuf"}
    return over_http(house, role, "POST", "/resolver/v1/batch", content=body, headers=kind)


def _get(path: str, **options: Any) -> Any:
    return lambda house, role: over_http(house, role, "GET", path, **options)


def _rpc(method: str, request: Any) -> Any:
    return lambda house, role: over_grpc(house, role, method, request)


_ASKED = resolver_pb2.ResolveRequest
#: Doors that answer with every value the asker may see.
WHOLE: dict[str, Any] = {
    "resolve": _rpc(f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE)),
    "resolve, other spelling": _rpc(f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE.lower())),
    "resolve with chain": _rpc(f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE, with_chain=True, tag=7)),
    "resolve at the owner": _rpc(f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE, authoritative=True)),
    "resolve by index": _rpc(f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE, indexes=[1, 2, 3, 4])),
    "batch": _rpc(
        f"{_RESOLVER}BatchResolve", resolver_pb2.BatchResolveRequest(identifiers=[HANDLE, HANDLE.lower()])
    ),
    "stream": _rpc(f"{_RESOLVER}StreamResolve", _ASKED(identifier=HANDLE, tag=3)),
    "batch over http": batch_over_http,
    "handle get": _get(f"/api/handles/{HANDLE}"),
    "handle get, other spelling": _get(f"/api/handles/{HANDLE.lower()}"),
    "handle get, everything": _get(f"/api/handles/{HANDLE}?cert&pretty&auth=true&callback=f"),
    "handle get by index": _get(f"/api/handles/{HANDLE}?index=1&index=2&index=3&index=4"),
    "handle post": lambda house, role: over_http(
        house, role, "POST", f"/api/handles/{HANDLE}", json={"cert": True}
    ),
}
#: Doors that answer with less, or not to everybody.
PARTLY: dict[str, Any] = {
    "handle get, insisting": _get(f"/api/handles/{HANDLE}?publicOnly=false"),
    "handle get, public only": _get(f"/api/handles/{HANDLE}?publicOnly=true"),
    "handle get of a hidden index": _get(f"/api/handles/{HANDLE}?index=4"),
    "handle get of a hidden type": _get(f"/api/handles/{HANDLE}?type=INNER_WORD_TYPE&type=URL."),
    "handle list": _get(f"/api/handles?prefix={OWN}"),
    "resolve of a hidden index": _rpc(f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE, indexes=[4, 5])),
    "resolve of a hidden type": _rpc(
        f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE, types=["URL", "INNER."])
    ),
    "page": _get(f"/id/{HANDLE}", headers={"accept": "text/html"}),
    "page in chinese": _get(f"/id/{HANDLE}?view=page&lang=zh"),
    "page in english": _get(f"/id/{HANDLE}?view=page&lang=en"),
    "linkset": _get(f"/id/{HANDLE}?linkType=linkset"),
    "linkset as json": _get(f"/id/{HANDLE}", headers={"accept": "application/json"}),
    "links of all types": _get(f"/id/{HANDLE}?linkType=all"),
    "redirect": _get(f"/id/{HANDLE}"),
    "redirect by type": _get(f"/id/{HANDLE}?linkType=describedby"),
    "search": _get(f"/hrls/handles/{OWN}?INNER_WORD_TYPE=*"),
    "search everywhere": _get("/hrls/handles?INNER_WORD_TYPE=*&URL=*"),
    "registry search": _rpc(
        f"{_REGISTRY}Search", registry_pb2.SearchRequest(prefix=OWN.key, patterns={"URL": "*"})
    ),
    "registry list": _rpc(f"{_REGISTRY}List", registry_pb2.ListRequest(prefix=OWN.key)),
    "registry history": _rpc(f"{_REGISTRY}History", registry_pb2.HistoryRequest(identifier=HANDLE)),
    "registry register, refused": _rpc(
        f"{_REGISTRY}Register",
        registry_pb2.RegisterRequest(draft=registry_pb2.Draft(identifier=HANDLE, kind="unknown")),
    ),
    "accounts": _get(f"/accounts/events?prefix={OWN}"),
    "metrics": _get("/metrics"),
    "site": _get("/api/site"),
}


def words_in(out: bytes) -> set[str]:
    """Return whose words stand in what came out: plainly, and inside anything in base64."""
    texts = [out]
    for token in _TOKEN.findall(out):
        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                texts.append(decode(token + b"=" * (-len(token) % 4)))
            except ValueError:
                continue
    return {name for name, word in WORDS.items() if any(word.encode() in text for text in texts)}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("door", WHOLE)
def test_fault_24_a_door_shows_exactly_what_the_asker_may_see(house, door, role):
    assert words_in(WHOLE[door](house, role)) == SEEN[role]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("door", PARTLY)
def test_fault_24_no_door_shows_more_than_the_asker_may_see(house, door, role):
    assert words_in(PARTLY[door](house, role)) <= SEEN[role]


@pytest.mark.parametrize("door", WHOLE)
def test_what_the_owner_was_shown_is_never_served_to_the_next(house, door):
    askers = ["admin", ANONYMOUS, "admin elsewhere", ANONYMOUS, NODE, "reader"] * 8
    with ThreadPoolExecutor(8) as pool:
        shown = list(pool.map(lambda role: (role, words_in(WHOLE[door](house, role))), askers))
    assert all(words == SEEN[role] for role, words in shown)


STRANGERS = tuple(role for role in ROLES if role not in OWNERS)

#: Doors that list, count or search, with and without a prefix; none echoes the names it lists in a refusal.
LISTS: dict[str, Any] = {
    "handles": _get(f"/api/handles?prefix={OWN}"),
    "handles, as a record": _get(f"/api/handles/?prefix={OWN}"),
    "handles, counted": _get(f"/api/handles?prefix={OWN}&pageSize=0"),
    "search": _get(f"/hrls/handles/{OWN}?URL=*"),
    "search everywhere": _get("/hrls/handles?URL=*"),
    "prefixes": _get("/api/prefixes"),
    "received entries": _get(f"/exchange-entries/t9?prefix={OWN}"),
    "received datasets": _get(f"/exchange-entries?prefix={OWN}"),
    "queries": _get(f"/queries?prefix={OWN}"),
    "queries received": _get(f"/queries/received?prefix={OWN}"),
    "deposits": _get(f"/escrow/made?prefix={OWN}"),
    "accounts": _get(f"/accounts?prefix={OWN}"),
    "events": _get(f"/accounts/events?prefix={OWN}"),
    "metrics": _get("/metrics"),
    "registry list": _rpc(f"{_REGISTRY}List", registry_pb2.ListRequest(prefix=OWN.key)),
    "registry search": _rpc(
        f"{_REGISTRY}Search", registry_pb2.SearchRequest(prefix=OWN.key, patterns={"URL": "*"})
    ),
    "registry search everywhere": _rpc(
        f"{_REGISTRY}Search", registry_pb2.SearchRequest(patterns={"URL": "*"})
    ),
    "registry history": _rpc(f"{_REGISTRY}History", registry_pb2.HistoryRequest(identifier=f"{OWN}/NONE")),
}


@pytest.mark.parametrize("role", STRANGERS)
@pytest.mark.parametrize("door", LISTS)
def test_fault_24_no_list_names_a_record_to_those_who_may_not_list(house, door, role):
    out = LISTS[door](house, role)
    assert b"SECRETS" not in out.upper()
    assert words_in(out) == set()


def test_fault_24_the_lists_do_name_it_to_those_who_may(house):
    """Or the test before could not fail."""
    for door in ("handles", "search", "search everywhere", "registry list", "registry search everywhere"):
        assert b"SECRETS" in LISTS[door](house, "reader").upper(), door


def without_request_id(out: bytes) -> bytes:
    return re.sub(rb"(x-request-id: |urn:uuid:)[0-9a-f-]+|date: [^\n]+", b"", out)


@pytest.mark.parametrize("role", STRANGERS)
def test_fault_24_a_hidden_value_answers_like_one_that_is_not_there(house, role):
    """What a stranger asks about a hidden value is answered as for a value that never was."""

    def same(make: Any, hidden: str, unknown: str) -> None:
        found = without_request_id(make(hidden)).replace(hidden.encode(), b"~")
        missed = without_request_id(make(unknown)).replace(unknown.encode(), b"~")
        assert found == missed

    def handles(query: str) -> Any:
        return lambda what: over_http(house, role, "GET", f"/api/handles/{HANDLE}?{query}{what}")

    # by type: neither whether there is one, nor at which index
    private, never = "INNER_WORD_TYPE", "OTHER_WORD_TYPE"
    same(handles("type="), private, never)
    same(handles("publicOnly=false&type="), private, never)
    same(handles("publicOnly=false&type="), "INNER_WORD.", "OTHER_WORD.")
    same(lambda kind: resolved(house, role, types=[kind]), private, never)
    same(lambda kind: resolved(house, role, types=[kind]), "INNER_WORD.", "OTHER_WORD.")
    # by search
    for place in (f"/{OWN}", ""):
        same(
            lambda word, place=place: over_http(
                house, role, "GET", f"/hrls/handles{place}?INNER_WORD_TYPE={word}"
            ),
            "inner-word",
            "other-word",
        )
    same(
        lambda word: over_grpc(
            house,
            role,
            f"{_REGISTRY}Search",
            registry_pb2.SearchRequest(prefix=OWN.key, patterns={private: f"{word}*"}),
        ),
        "inner",
        "other",
    )


def resolved(house: Served, role: str, **question: Any) -> bytes:
    return over_grpc(house, role, f"{_RESOLVER}Resolve", _ASKED(identifier=HANDLE, **question))


@pytest.mark.parametrize("role", STRANGERS)
def test_a_write_that_is_refused_tells_nothing_about_what_is_there(house, role):
    """Guesses at a hidden value, its index and the record's existence end alike."""

    def put(handle: str, index: int, word: str) -> bytes:
        value = [{"index": index, "type": "INNER_WORD_TYPE", "data": word, "visibility": "private"}]
        path = f"/api/handles/{handle}?index={index}&overwrite=false"
        return over_http(house, role, "PUT", path, json=value)

    def remove(handle: str, index: int) -> bytes:
        return over_http(house, role, "DELETE", f"/api/handles/{handle}?index={index}")

    def register(handle: str, word: str) -> bytes:
        value = resolver_pb2.Value(index=4, type="INNER_WORD_TYPE", data=word.encode())
        request = registry_pb2.RegisterRequest(
            draft=registry_pb2.Draft(identifier=handle, values=[value]), expected_version=1
        )
        return over_grpc(house, role, f"{_REGISTRY}Register", request)

    def take(method: str, handle: str) -> bytes:
        request = registry_pb2.WithdrawRequest(identifier=handle, reason="guess", expected_version=9)
        return over_grpc(house, role, _REGISTRY + method, request)

    other = f"{OWN}/NOTHING"

    def plain(out: bytes) -> bytes:
        return without_request_id(out).replace(other.encode(), b"~").replace(HANDLE.encode(), b"~")

    assert len({plain(put(HANDLE, 4, word)) for word in ("inner-word", "other-word")}) == 1
    for index in (4, 99):
        # content-length follows the length of the name
        trimmed = [re.sub(rb"content-length: \d+", b"", plain(remove(h, index))) for h in (HANDLE, other)]
        assert trimmed[0] == trimmed[1]
    assert plain(register(HANDLE, "inner-word")) == plain(register(HANDLE, "other-word"))
    assert plain(register(HANDLE, "x")) == plain(register(other, "x"))
    for method in ("Withdraw", "Delete"):
        assert plain(take(method, HANDLE)) == plain(take(method, other))


def test_an_entity_tag_tells_the_version_and_nothing_else(house):
    tags = set()
    for role in ROLES:
        answer = house.plain.get(f"/api/handles/{HANDLE}", headers=house.header(role))
        tags.add(answer.headers["etag"])
    assert tags == {'"1"'}


def test_fault_24_a_count_is_told_only_to_those_who_may_list(house):
    for role in ROLES:
        answer = house.plain.get(f"/api/handles?prefix={OWN}&pageSize=0", headers=house.header(role))
        assert ("totalCount" in answer.text) is (role in OWNERS)


def test_signatures_and_salts_of_hidden_values_stay_with_those_who_see_some(house):
    def proof(role: str) -> Any:
        reply = resolver_pb2.ResolveReply.FromString(resolved(house, role, with_chain=True))
        return reply.proof.restricted_jws, {value.index: value.salt for value in reply.record.values}

    restricted, salts = proof(ANONYMOUS)
    assert not restricted
    assert salts == {1: b""}
    restricted, salts = proof("admin elsewhere")
    assert restricted
    assert set(salts) == {1, 2, 3}
    assert all(len(salts[index]) == 16 for index in (2, 3))


def test_an_answer_to_somebody_known_is_not_for_shared_caches(house):
    for path in (f"/api/handles/{HANDLE}", f"/id/{HANDLE}?view=page", f"/id/{HANDLE}?linkType=linkset"):
        assert "Authorization" in house.plain.get(path).headers.get("vary", ""), path
        known = house.plain.get(path, headers=house.header("admin")).headers
        assert "private" in known.get("cache-control", "") or "no-store" in known.get("cache-control", ""), (
            path
        )
        assert "Authorization" in known.get("vary", ""), path


def test_a_value_that_is_hidden_later_is_gone_from_every_door_at_once(house):
    by, spelling = an_admin(OWN, name="test@88"), f"{OWN}/CLOSING"
    open_value = Value(1, "NOTE", b"inner-word")
    house.node.registry.register(by, Draft(identifier=spelling, values=(open_value, Value(2, "URL", b"x"))))
    doors = {
        "get": lambda: over_http(house, ANONYMOUS, "GET", f"/api/handles/{spelling}"),
        "resolve": lambda: over_grpc(house, ANONYMOUS, f"{_RESOLVER}Resolve", _ASKED(identifier=spelling)),
        "page": lambda: over_http(house, ANONYMOUS, "GET", f"/id/{spelling}?view=page"),
    }
    for ask in doors.values():
        assert words_in(ask()) == {"private"}
    closed = [{"index": 1, "type": "NOTE", "data": "inner-word", "visibility": "private"}]
    done = house.plain.put(f"/api/handles/{spelling}?index=1", json=closed, headers=house.header("editor"))
    assert done.status_code == 200
    for ask in doors.values():
        assert words_in(ask()) == set()


def test_a_visibility_for_a_prefix_counts_in_whatever_case_the_handle_api_was_given_it(house):
    body = [{"index": 1, "type": "NOTE", "data": "partner-word", "visibility": ["88.107.plant-x"]}]
    path = f"/api/handles/{OWN}/CASE"
    assert house.plain.put(path, json=body, headers=house.header("editor")).status_code == 201
    (value,) = house.plain.get(path, headers=house.header("reader")).json()["values"]
    assert value["visibility"] == ["88.107.PLANT-X"]
    assert "partner-word" not in house.plain.get(path).text


@pytest.mark.parametrize("named", ["88.107.plant-x", "nobody knows", "88..1", "8" * 65, "０"])
def test_a_visibility_for_a_prefix_that_could_never_match_is_refused(house, named):
    seen = resolver_pb2.Visibility(scope="SCOPE_PREFIXES", prefixes=[named])
    value = resolver_pb2.Value(index=1, type="NOTE", data=b"partner-word", visibility=seen)
    draft = registry_pb2.Draft(identifier=f"{OWN}/NEVER", values=[value])
    out = over_grpc(house, "editor", f"{_REGISTRY}Register", registry_pb2.RegisterRequest(draft=draft))
    assert b"INVALID_ARGUMENT" in out
    assert b"values[0].visibility.prefixes" in out
