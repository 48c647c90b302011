import json

import pytest
import structlog

from node.config import LogsConfig
from node.logs import configure, logger


@pytest.fixture(autouse=True)
def _as_before():
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_that_says_where_it_comes_from(capsys):
    configure(LogsConfig(), process="worker-1")
    structlog.contextvars.bind_contextvars(request="r-1")
    logger("node.http").info("request", path="/储罐", status=200)
    logger("node.http").debug("not shown")
    (line,) = lines(capsys)
    assert (
        line.items()
        >= {
            "source": "node.http",
            "event": "request",
            "path": "/储罐",
            "process": "worker-1",
            "request": "r-1",
            "level": "info",
        }.items()
    )


def test_secrets_never_reach_the_log(capsys):
    configure(LogsConfig())
    logger("x").warning("login", password="hunter2", authorization="Basic hunter2", name="a@88")
    assert "hunter2" not in str(lines(capsys))


def test_an_exception_is_told_without_local_variables(capsys):
    for form in ("json", "text"):
        configure(LogsConfig(format=form))
        password = "hunter" + "2"
        try:
            raise RuntimeError("broken")
        except RuntimeError as error:
            logger("x").error("failed", exc_info=error)
        told = capsys.readouterr().err
        assert "broken" in told
        assert password not in told


def test_lines_of_libraries_take_the_same_form(capsys):
    import logging

    configure(LogsConfig())
    logging.getLogger("asyncio").warning("slow callback")
    (line,) = lines(capsys)
    assert (line["event"], line["logger"]) == ("slow callback", "asyncio")
