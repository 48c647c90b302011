"""A small fixed part of the mutants, for every run of the tests: `python -m tests.mutation.sample` prints what became of it.

Three functions that decide, each held against a few tests that need no search for examples.
"""

import json
import sys

from tests.mutation.operators import Source
from tests.mutation.running import quick
from tests.mutation.targets import Target, known

__all__ = ["SAMPLE"]

#: module → function, test file, its tests.
SAMPLE = {
    "federation/log/merkle.py": (
        "verify_inclusion",
        "tests/unit/federation/log/test_merkle.py",
        (
            "test_the_worked_example_of_the_specification_comes_out",
            "test_an_inclusion_proof_is_no_longer_than_its_tree_is_high",
            "test_hashes_of_another_length_prove_nothing",
            "test_every_short_inclusion_proof_holds_at_its_place_alone",
        ),
    ),
    "federation/log/note.py": (
        "_verify",
        "tests/unit/federation/log/test_note.py",
        (
            "test_the_published_example_holds",
            "test_fault_21_the_cosignature_of_the_worked_example_comes_out_and_holds",
        ),
    ),
    "registry/trust/jws.py": (
        "verify",
        "tests/unit/registry/trust/test_jws.py",
        (
            "test_the_key_decides_and_the_header_must_agree",
            "test_the_general_form_is_one_payload_under_several_signatures",
        ),
    ),
}

#: Changes here make loops that do not end, and cost seconds each: left to the command.
_ENDLESS = ("while ", "fn >>=", "sn >>=")


def main() -> int:
    """Run the sample and print it as JSON: module → key of the mutant → what became of it, and whether it is excused."""
    made: dict[str, list[tuple[str, str, bool]]] = {}
    for module, (function, file, tests) in SAMPLE.items():
        target = Target(module, tuple(f"{file}::{name}" for name in tests))
        source = Source(target.path)
        excused = known(target, source.mutants)
        todo = [
            n
            for n, mutant in enumerate(source.mutants)
            if mutant.function == function and not mutant.line.startswith(_ENDLESS)
        ]
        rows = []
        for kind, content in quick(target, source, todo):
            if kind == "broken":
                print(content, file=sys.stderr)
                return 1
            if kind == "verdict":
                mutant = source.mutants[content[0]]
                rows.append((f"{mutant.line}: {mutant.change}", content[1], mutant.key in excused))
        made[module] = rows
    print(json.dumps(made, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
