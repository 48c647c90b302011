"""A process that writes into a database at the same time as another; told where and when by its caller.

python -m tests.support.second_writer URL NAME ROUNDS OWN     prints `ready`, waits for a line, works, prints JSON
"""

import json
import sys

from registry.errors import ConflictError
from registry.identifier import Identifier
from registry.record import Draft
from registry.storage.engine import Database
from registry.value import Value
from tests.support.registry import a_registry, someone

__all__ = ["SHARED", "count_up", "work"]

SHARED = "88.107.1001/SHARED"


def count_up(registry, who):
    """Add one to the shared counter, by optimistic versions; return how often another writer was quicker."""
    conflicts = 0
    while True:
        (record,) = registry.records([Identifier.parse(SHARED)])
        value = Value(1, "COUNT", b"%d" % (int(record.value(1).data) + 1))
        try:
            registry.set_values(who, SHARED, values=[value], expected_version=record.version)
        except ConflictError:
            conflicts += 1
        else:
            return conflicts


def work(url, name, rounds, own):
    database = Database(url)
    registry, who = a_registry(database), someone(name=name)
    print("ready", flush=True)
    sys.stdin.readline()
    done, conflicts = [], 0
    for turn in range(rounds):
        names = [f"BOTH-{turn}", *(f"{name}-{turn}-{n}" for n in range(own))]
        drafts = [Draft(identifier=f"88.107.1001/{n}", values=(Value(1, "URL", b"x"),)) for n in names]
        done += [result.done.name for result in registry.register_many(who, drafts)]
        conflicts += count_up(registry, who)
    database.close()
    print(json.dumps({"done": done, "conflicts": conflicts}))


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
