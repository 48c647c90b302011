import re
from pathlib import Path

import pytest

from node.settings import example, load
from registry.errors import InvalidValueError
from registry.language import LANGUAGES

EXAMPLE = Path(__file__).parents[3] / "docs" / "hazlink.example.toml"


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ("HAZLINK_DOORS__HTTP_PORT", "HAZLINK_DATA"):
        monkeypatch.delenv(name, raising=False)


def test_a_folder_without_a_file_has_every_default(tmp_path):
    settings = load(tmp_path)
    assert settings.doors.http_port == 8800
    assert settings.database_url == f"sqlite:///{tmp_path / 'hazlink.sqlite3'}"
    assert settings.passphrase() is None
    assert settings.public_url == "http://127.0.0.1:8800"


def test_what_was_given_stands_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    (tmp_path / "hazlink.toml").write_text("[doors]\nhttp_port = 1\ngrpc_port = 2\nworkers = 3\n")
    monkeypatch.setenv("HAZLINK_DOORS__HTTP_PORT", "10")
    monkeypatch.setenv("HAZLINK_DOORS__GRPC_PORT", "20")
    doors = load(tmp_path, doors={"http_port": 100}).doors
    assert (doors.http_port, doors.grpc_port, doors.workers) == (100, 20, 3)


def test_a_list_comes_from_the_environment_separated_by_commas(tmp_path, monkeypatch):
    monkeypatch.setenv("HAZLINK_DOORS__TRUSTED_PROXIES", "10.0.0.1, ::1")
    assert load(tmp_path).doors.trusted_proxies == ("10.0.0.1", "::1")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("colour = 'red'", "colour"),
        ("[doors]\nhttp_prt = 1", "doors.http_prt"),
        ("[walls]\nheight = 1", "walls.height"),
        ("[doors.http]\nport = 1", "doors.http.port"),
        ("[doors]\nhttp_port = 'abc'", "doors.http_port"),
        ("[limits]\nmax_json_depth = 1.5", "limits.max_json_depth"),
    ],
)
def test_unknown_keys_and_wrong_values_are_refused_by_name(tmp_path, content, field):
    (tmp_path / "hazlink.toml").write_text(content)
    with pytest.raises(InvalidValueError) as caught:
        load(tmp_path)
    assert caught.value.field == field
    for language in LANGUAGES:
        assert field in caught.value.message(language)


def test_an_unknown_variable_of_the_environment_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HAZLINK_DOORS__HTTP_PRT", "1")
    with pytest.raises(InvalidValueError, match="http_port"):
        load(tmp_path)


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "hazlink.toml").write_text("[doors\n")
    with pytest.raises(InvalidValueError, match=r"hazlink\.toml"):
        load(tmp_path)


def test_the_passphrase_comes_from_its_file_and_an_empty_one_is_refused(tmp_path):
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    assert load(tmp_path, passphrase_file="passphrase").passphrase() == b"correct horse"
    secret.write_text("\n")
    with pytest.raises(InvalidValueError, match="empty"):
        load(tmp_path, passphrase_file="passphrase").passphrase()
    with pytest.raises(InvalidValueError, match="missing"):
        load(tmp_path, passphrase_file="missing").passphrase()


def test_the_example_is_a_file_the_program_reads_once_every_key_is_uncommented(tmp_path):
    lines = [re.sub(r"^# (?=[a-z0-9_]+ = )", "", line) for line in example().splitlines()]
    (tmp_path / "hazlink.toml").write_text("\n".join(lines))
    assert load(tmp_path) == load(tmp_path / "elsewhere").model_copy(
        update={"data": tmp_path, "peers": load(tmp_path).peers}
    )
    assert sum(" = " in line and not line.startswith("#") for line in lines) > 60


def test_chosen_values_stand_uncommented_and_are_read_back(tmp_path):
    (tmp_path / "hazlink.toml").write_text(
        example({"doors.http_port": 9000, "peers.allow_loopback_peers": True})
    )
    settings = load(tmp_path)
    assert settings.doors.http_port == 9000
    assert settings.peers.allow_loopback_peers


def test_the_example_file_in_the_documentation_is_the_one_the_program_writes():
    assert EXAMPLE.read_text(encoding="utf-8") == example()
