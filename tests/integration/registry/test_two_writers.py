"""Two processes write into one database at once: versions, idempotence and positions hold all the same."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from registry.identifier import Identifier
from registry.record import Draft
from registry.value import Value
from tests.support.registry import HOME, a_registry, someone
from tests.support.second_writer import SHARED

ROOT = Path(__file__).parents[3]
ROUNDS, OWN = 8, 12


def start(url, name):
    arguments = ["-m", "tests.support.second_writer", url, name, str(ROUNDS), str(OWN)]
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_lose_nothing_and_double_nothing(database):
    registry, who = a_registry(database), someone()
    registry.register(who, Draft(identifier=SHARED, values=(Value(1, "COUNT", b"0"),)))
    writers = [start(database.url.render_as_string(hide_password=False), name) for name in ("A", "B")]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]

    (shared,) = registry.records([Identifier.parse(SHARED)])
    assert (int(shared.value(1).data), shared.version) == (2 * ROUNDS, 2 * ROUNDS + 1), "no update was lost"
    done = Counter(word for each in said for word in each["done"])
    # who comes second to a BOTH finds the same content there
    assert done == {"CREATED": ROUNDS * (1 + 2 * OWN), "UNCHANGED": ROUNDS}
    assert registry.count(who, HOME) == 1 + ROUNDS * (1 + 2 * OWN)
    changes = registry.changes(0, 10_000)
    assert [c.position for c in changes] == list(range(1, 2 + ROUNDS * (1 + 2 * OWN) + 2 * ROUNDS))
    versions = [c.version for c in changes if c.identifier == SHARED]
    assert versions == list(range(1, 2 * ROUNDS + 2))
