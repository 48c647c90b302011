"""Schemathesis over the OpenAPI of a running node: no request brings it down, and it answers as it is described."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from registry.record import Draft
from registry.value import PRIVATE, Value
from tests.support.node import an_admin
from tests.support.role_matrix import HTTP, RECORD
from tests.support.served import ANONYMOUS, OWN, served

pytestmark = pytest.mark.slow

#: Doors that the description leaves out: what is never done, and what goes without saying.
HIDDEN = {
    "DELETE /api/prefixes/{prefix:path}",
    "POST /api/sessions",
    "GET /api/sessions/this",
    "PUT /api/sessions/this",
    "DELETE /api/sessions/this",
    "GET /api/verifications/{reference:path}",
    "GET /openapi.json",
}
DESCRIBED = sorted(
    {row.door.replace(":path", "") for row in HTTP if row.door not in HIDDEN}
    - {door for row in HTTP if (door := row.door.replace(":path", "")).startswith(("HEAD ", "OPTIONS "))}
)
CHECKS = (
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
#: For each door, role and way to ask.
EXAMPLES = 10
#: Names that stand there, mixed in among the generated ones, which hardly ever do.
NAMES = {
    "handle": (RECORD, f"0.NA/{OWN}", OWN.key, f"{OWN}/NEW", "88.107.1002/X", "99.1/X", f"{OWN}/{{n}}"),
    "identifier": (RECORD, f"0.NA/{OWN}", f"{RECORD}/", "99.1/X"),
    "prefix": (OWN.key, "88", f"{OWN}.5", "88.107.1002", "99"),
    "name": (f"spare@{OWN}", f"SPARE@{OWN}", "nobody@88", f"300:0.NA/{OWN}"),
}


#: Bodies that are any bytes at all, as far as the description goes.
ANY_BYTES = ("application/x-protobuf", "application/x-ndjson", "application/jose", "application/octet-stream")


@schemathesis.serializer(*ANY_BYTES)
def _as_bytes(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with served(tmp_path_factory.mktemp("schemathesis")) as made:
        by = an_admin(OWN, name="test@88")
        made.node.accounts.add_system(by, f"spare@{OWN}", [])
        values = (Value(1, "URL", b"https://plant.example/1"), Value(2, "NOTE", b"inside").seen_as(PRIVATE))
        made.node.registry.register(by, Draft(identifier=RECORD, values=values))
        yield made


@pytest.fixture(scope="module")
def described(house):
    return {
        shows_logins: schemathesis.openapi.from_url(f"{house.http}/openapi.json", config=config(shows_logins))
        for shows_logins in (False, True)
    }


def config(shows_logins: bool) -> Any:
    made = schemathesis.Config()
    made.projects.default.generation.update(with_security_parameters=shows_logins)
    return made


def test_the_description_holds_every_door_but_those_left_out(described):
    assert sorted(result.ok().label for result in described[False].get_all_operations()) == DESCRIBED


def test_the_description_says_who_must_log_in(house):
    paths = house.plain.get("/openapi.json").json()["paths"]
    anyone = {row.door.replace(":path", "") for row in HTTP if ANONYMOUS in row.who}
    for door in DESCRIBED:
        method, _, path = door.partition(" ")
        assert ({} in paths[path][method.lower()]["security"]) is (door in anyone), door


@pytest.mark.parametrize("role", [ANONYMOUS, "admin", "somebody wrong"])
@pytest.mark.parametrize("door", DESCRIBED)
def test_no_request_brings_the_node_down_and_every_answer_is_as_described(house, described, door, role):
    method, _, path = door.partition(" ")
    operation = described[role == "somebody wrong"][path][method]
    headers = house.header(role)
    tried = 0

    def ask(case: Any, name: str | None, number: int) -> None:
        nonlocal tried
        tried += 1
        if name is not None:
            case.path_parameters = {key: named(key, name, number) for key in case.path_parameters or {}}
        answer = case.call(base_url=house.http, headers=headers, allow_redirects=False)
        assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
        assert "Traceback" not in answer.text
        for check in CHECKS:
            case.validate_response(answer, checks=[check])

    keys = [parameter.name for parameter in operation.path_parameters]
    names = sorted({name for key in keys for name in NAMES.get(key, ())})
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        # what takes no parameter, or any text at all, cannot be asked wrongly
        if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation):
            continue
        chosen = st.one_of(st.none(), st.sampled_from(names)) if names else st.none()
        bounded(given(operation.as_strategy(generation_mode=mode), chosen, st.integers(0, 9))(ask))()
    assert tried


def named(key: str, name: str, number: int) -> str:
    return name.replace("{n}", str(number)) if key in NAMES else name


def can_be_wrong(operation: Any) -> bool:
    return bool(operation.query) or any(body.media_type not in ANY_BYTES for body in operation.body)


def bounded(test: Any) -> Any:
    return settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(test)
