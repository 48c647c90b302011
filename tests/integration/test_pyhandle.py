"""The public client pyhandle, as it is, against a real server, a real registry and a real database."""

import json
import re

import pytest
import requests
from pyhandle.client.resthandleclient import RESTHandleClient
from pyhandle.clientcredentials import PIDClientCredentials
from pyhandle.handleexceptions import (
    GenericHandleError,
    HandleAlreadyExistsException,
    HandleAuthenticationError,
    HandleNotFoundException,
    HandleSyntaxError,
    IllegalOperationException,
    ReverseLookupException,
)

from registry.identifier import Identifier, Prefix
from registry.principal import Role
from registry.record import Draft
from registry.storage.engine import Database, metadata
from registry.structured import admin_data
from registry.value import PRIVATE, Value
from tests.support.handle_api import EDITOR, SmallNode, served
from tests.support.registry import a_registry, someone

USER, SECRET = "300:0.NA/88.107.1001", "own-secret"
STRANGER, OTHER_SECRET = "300:0.NA/88.107.1002", "other"
URL = "https://e.example/batch/1?a=b&c=d"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('pyhandle') / 'node.db'}")
    metadata.create_all(database.engine)
    made = a_registry(database)
    park = someone(Role.ADMIN, Prefix("88.107"))
    for prefix in ("88.107.1001", "88.107.1002"):
        admin = Value(100, "HS_ADMIN", admin_data(f"0.NA/{prefix}", 300))
        made.register(park, Draft(f"0.NA/{prefix}", values=(admin,)))
    yield made
    database.close()


@pytest.fixture(scope="module")
def server(registry):
    with served(SmallNode(registry=registry).app()) as url:
        yield url


@pytest.fixture
def client(server):
    return RESTHandleClient.instantiate_with_username_and_password(
        server, USER, SECRET, allowed_search_keys=[]
    )


@pytest.fixture
def name(request):
    return "88.107.1001/" + re.sub(r"[^a-z]", "-", request.node.name.lower())[:60]


def test_what_is_registered_can_be_read(client, name):
    assert client.register_handle(name, URL, checksum="abc", NOTE="环氧乙烷") == name
    record = client.retrieve_handle_record(name)
    assert {key: record[key] for key in ("URL", "CHECKSUM", "NOTE")} == {
        "URL": URL, "CHECKSUM": "abc", "NOTE": "环氧乙烷",
    }  # fmt: skip
    assert client.get_value_from_handle(name, "URL") == URL
    assert client.get_value_from_handle(name, "ABSENT") is None
    whole = client.retrieve_handle_record_json(name)
    assert whole["handle"] == name
    assert [value["index"] for value in whole["values"]] == sorted(
        value["index"] for value in whole["values"]
    )
    admin = next(value for value in whole["values"] if value["type"] == "HS_ADMIN")
    assert admin["index"] == 100
    assert admin["data"]["value"] == {
        "handle": "0.NA/88.107.1001", "index": 200, "permissions": "011111110011",
    }  # fmt: skip


def test_a_reader_without_a_login_reads_in_any_case_and_by_index(client, server, name):
    client.register_handle(name, URL)
    reader = RESTHandleClient.instantiate_for_read_access(server)
    assert reader.retrieve_handle_record(name.upper())["URL"] == URL
    chosen = reader.retrieve_handle_record_json(name, indices=[1])
    assert [value["index"] for value in chosen["values"]] == [1]
    by_type = reader.retrieve_handle_record_json(name, type=["URL"])
    assert [value["type"] for value in by_type["values"]] == ["URL"]
    assert reader.retrieve_handle_record_json(name, indices=[77])["values"] == []
    assert reader.retrieve_handle_record_json("88.107.1001/absent") is None


def test_what_is_there_is_not_registered_twice_unless_overwriting_is_asked_for(client, name):
    client.register_handle(name, URL)
    with pytest.raises(HandleAlreadyExistsException):
        client.register_handle(name, "https://e.example/other")
    assert client.register_handle(name, "https://e.example/other", overwrite=True) == name
    assert client.get_value_from_handle(name, "URL") == "https://e.example/other"


def test_a_registration_by_entries_and_one_with_a_made_up_name(client, name):
    entries = [{"index": 5, "type": "NOTE", "data": {"format": "string", "value": "five"}, "ttl": 600}]
    assert client.register_handle_json(name, entries) == name
    value = client.retrieve_handle_record_json(name, indices=[5])["values"][0]
    assert (value["ttl"], value["data"]["value"]) == (600, "five")
    made_up = client.generate_and_register_handle("88.107.1001", URL)
    assert client.get_value_from_handle(made_up, "URL") == URL


def test_values_are_modified_added_and_removed(client, name):
    client.register_handle(name, URL, NOTE="one")
    client.modify_handle_value(name, NOTE="two", EXTRA="new")
    assert client.get_value_from_handle(name, "NOTE") == "two"
    assert client.get_value_from_handle(name, "EXTRA") == "new"
    client.modify_handle_value(name, ttl=60, add_if_not_exist=False, NOTE="three")
    assert client.get_value_from_handle(name, "NOTE") == "three"
    assert client.delete_handle_value(name, ["NOTE", "EXTRA"]) == name
    assert set(client.retrieve_handle_record(name)) == {"URL", "HS_ADMIN"}
    assert client.delete_handle_value(name, "NOTE") is None


def test_adding_a_value_that_is_there_is_refused(client, name):
    client.register_handle(name, URL)
    with pytest.raises(GenericHandleError, match="201"):
        client.add_handle_value(name, URL="https://e.example/again")


def test_the_administrator_entry_is_protected_by_the_client(client, name):
    client.register_handle(name, URL)
    with pytest.raises(IllegalOperationException):
        client.modify_handle_value(name, HS_ADMIN="x")
    with pytest.raises(IllegalOperationException):
        client.delete_handle_value(name, "HS_ADMIN")


def test_a_deleted_handle_is_gone_and_may_come_back(client, name, server):
    client.register_handle(name, URL)
    assert client.delete_handle(name) == name
    assert client.retrieve_handle_record_json(name) is None
    body = requests.get(f"{server}/api/handles/{name}", timeout=5).json()
    assert (body["responseCode"], body["tombstone"]["by"]) == (100, "0.NA/88.107.1001")
    with pytest.raises(HandleNotFoundException):
        client.delete_handle(name)
    with pytest.raises(HandleNotFoundException):
        client.modify_handle_value(name, NOTE="x")
    assert client.register_handle(name, URL) == name
    assert client.get_value_from_handle(name, "URL") == URL


def test_a_wrong_password_is_an_authentication_error_for_every_write(client, server, name):
    client.register_handle(name, URL)
    wrong = RESTHandleClient.instantiate_with_username_and_password(server, USER, "not-the-secret")
    for write in (
        lambda: wrong.register_handle("88.107.1001/never", URL),
        lambda: wrong.modify_handle_value(name, NOTE="x"),
        lambda: wrong.delete_handle(name),
        lambda: wrong.delete_handle_value(name, "URL"),
    ):
        with pytest.raises(HandleAuthenticationError):
            write()
    assert client.retrieve_handle_record_json("88.107.1001/never") is None


def test_another_enterprise_may_not_write_here(client, server, name):
    client.register_handle(name, URL)
    other = RESTHandleClient.instantiate_with_username_and_password(server, STRANGER, OTHER_SECRET)
    for write in (
        lambda: other.register_handle("88.107.1001/theirs", URL),
        lambda: other.modify_handle_value(name, NOTE="x"),
    ):
        with pytest.raises(GenericHandleError, match="403"):
            write()
    answer = requests.delete(
        f"{server}/api/handles/{name}", auth=(STRANGER.replace(":", "%3A"), OTHER_SECRET), timeout=5
    )
    assert (answer.status_code, answer.json()["responseCode"], answer.json()["handle"]) == (403, 400, name)


def test_a_prefix_that_lives_elsewhere_is_refused(client):
    with pytest.raises(GenericHandleError, match="301"):
        client.register_handle("88.200.1/x", URL)


def test_a_user_that_does_not_exist_is_found_out_at_once(server):
    with pytest.raises(HandleNotFoundException):
        RESTHandleClient.instantiate_with_username_and_password(server, "300:0.NA/88.107.9999", "x")
    with pytest.raises(HandleSyntaxError):
        RESTHandleClient.instantiate_with_username_and_password(server, "0.NA/88.107.1001", "x")


def test_a_client_without_a_login_does_not_write(server):
    with pytest.raises(HandleAuthenticationError):
        RESTHandleClient.instantiate_for_read_access(server).delete_handle("88.107.1001/x")


def test_credentials_come_from_a_file_too(server, tmp_path, name):
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps({
        "client": "rest", "handle_server_url": server, "username": USER, "password": SECRET, "handleowner": USER,
    }))  # fmt: skip
    client = RESTHandleClient.instantiate_with_credentials(PIDClientCredentials.load_from_JSON(str(file)))
    client.register_handle(name, URL)
    admin = client.retrieve_handle_record_json(name, indices=[100])["values"][0]
    assert admin["data"]["value"]["index"] == 300


def test_handles_are_found_by_their_values(client, name):
    client.register_handle(name, "https://find.example/1", CHECKSUM="c-77", TAG="searched")
    client.register_handle(name + "-2", "https://find.example/2", TAG="searched")
    assert client.search_handle("*FIND.example*") == [name, name + "-2"]
    assert client.search_handle(URL="*find.example*", CHECKSUM="c-7?") == [name]
    assert client.search_handle(TAG="searched", prefix="88.107.1001") == [name, name + "-2"]
    assert client.search_handle(TAG="searched", prefix="88.107.1002") == []
    assert client.search_handle(TAG="no such") == []


def test_a_search_needs_the_right_password(server):
    wrong = RESTHandleClient.instantiate_for_read_and_search(server, USER, "wrong")
    with pytest.raises(ReverseLookupException, match="Authentication failed"):
        wrong.search_handle("*")


def test_what_is_not_public_is_not_read_by_the_client_and_survives_its_changes(client, registry, name):
    client.register_handle(name, URL)
    secret = Value(900, "NOTE", b"mine").seen_as(PRIVATE)
    registry.set_values(EDITOR, Identifier.parse(name), values=(secret,))
    assert "NOTE" not in client.retrieve_handle_record(name)
    client.modify_handle_value(name, URL="https://e.example/changed")
    (record,) = registry.records([Identifier.parse(name)])
    assert record.value(900).visibility == PRIVATE
    assert record.value(900).data == b"mine"
