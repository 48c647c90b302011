"""Fills a data folder: a node that homes the benchmark's prefix, and signed records of five values.

    python -m tests.bench._prepare DIR RECORDS

Prints records a second and bytes of the database file a record.
"""

import subprocess
import sys
import time
from pathlib import Path

from node.cli.base import at_node, local_principal
from registry.identifier import Prefix
from registry.record import Draft
from registry.service import MAX_BATCH
from tests.bench._harness import ROOT
from tests.bench._load import PREFIX, name_of


def a_draft(number: int) -> Draft:
    """Return the draft of a substance with five values: two of the template, three business fields."""
    fields = {
        "NAME_ZH": f"虚构物质 {number}",
        "NAME_EN": f"Fictional substance {number}",
        "CAS_NO": "67-64-1",
    }
    return Draft(identifier=name_of(number), kind="substance", fields=fields)


def fill(data: Path, records: int) -> float:
    """Register the records; return how many a second."""
    top = PREFIX.partition(".")[0]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "node",
            "init",
            "--data",
            str(data),
            "--root",
            "--prefix",
            top,
            "--allow-loopback-peers",
            "--json",
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with at_node(data) as node:
        for labels in range(2, PREFIX.count(".") + 2):
            child = Prefix(".".join(PREFIX.split(".")[:labels]))
            node.prefixes.host(local_principal(node), child)
        who = local_principal(node)
        started = time.perf_counter()
        for first in range(0, records, MAX_BATCH):
            numbers = range(first, min(first + MAX_BATCH, records))
            results = node.registry.register_many(who, [a_draft(number) for number in numbers])
            refused = next((result.error for result in results if result.error), None)
            if refused is not None:
                raise SystemExit(str(refused))
        return records / (time.perf_counter() - started)


def main() -> None:
    data, records = Path(sys.argv[1]), int(sys.argv[2])
    rate = fill(data, records)
    size = sum(file.stat().st_size for file in data.glob("*.sqlite3"))
    print(rate, size / records)


if __name__ == "__main__":
    main()
