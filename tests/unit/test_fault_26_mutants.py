"""The command that changes code which verifies: it makes its mutants, and those of a sample do not survive.

All of them are run by `make mutants`; what came out last stands in docs/security.md.
"""

import ast
import json
import subprocess
import sys

import pytest

from tests.mutation.operators import Source
from tests.mutation.sample import SAMPLE
from tests.mutation.targets import ROOT, equivalents, known, targets


def changes(tmp_path, text):
    file = tmp_path / "module.py"
    file.write_text(text)
    return {(mutant.operator, mutant.change) for mutant in Source(file).mutants}


def test_fault_26_no_mutant_of_the_sample_survives():
    """And those known to behave as the code does are seen to survive: the command can say so."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutation.sample"],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    made = json.loads(run.stdout)
    assert set(made) == set(SAMPLE)
    for module, rows in made.items():
        assert len(rows) > 9, module
        for change, outcome, excused in rows:
            assert outcome in (("survived",) if excused else ("killed", "timeout")), (module, change)


@pytest.mark.parametrize("module", list(targets()))
def test_fault_26_every_excused_mutant_is_one_and_has_a_reason(module):
    target = targets()[module]
    mutants = Source(target.path).mutants
    excused = known(target, mutants)
    assert all(one.reason for one in excused.values())
    assert len({mutant.key for mutant in mutants}) == len(mutants)
    assert all((ROOT / test).is_file() for test in target.tests)


def test_fault_26_an_excuse_for_a_line_that_has_changed_is_an_error():
    target = targets()["federation/log/merkle.py"]
    assert equivalents(target.module)
    with pytest.raises(ValueError, match="no mutant any more"):
        known(target, [])


def test_fault_26_the_modules_that_decide_are_all_there():
    trust = {
        "jws", "keys", "algorithms", "strict_json", "encoding", "rights", "claims", "statement", "chain", "root",
        "revocation", "historical", "possession", "statement_key", "endpoints", "dual",
    }  # fmt: skip
    log = {"merkle", "note", "checkpoint", "proof", "leaf"}
    exchange = {"checks", "receipt", "envelope", "head", "epoch"}
    assert set(targets()) == {
        *(f"registry/trust/{name}.py" for name in trust),
        *(f"federation/log/{name}.py" for name in log),
        *(f"federation/exchange/{name}.py" for name in exchange),
    }


def test_comparisons_are_moved_and_turned(tmp_path):
    assert changes(tmp_path, "def f(a):\n    return len(a) != 3\n") == {
        ("return", "return len(a) != 3 → return None"),
        ("return", "return len(a) != 3 → return True"),
        ("return", "return len(a) != 3 → return False"),
        ("compare", "len(a) != 3 → len(a) == 3"),
        ("compare", "len(a) != 3 → len(a) < 3"),
        ("compare", "len(a) != 3 → len(a) > 3"),
        ("constant", "len(a) != 3 → len(a) != 4"),
        ("constant", "len(a) != 3 → len(a) != 2"),
    }


def test_conditions_are_dropped_and_refusals_left_out(tmp_path):
    made = changes(
        tmp_path, "def f(a, b):\n    if a and not b:\n        raise ValueError('words', field='x')\n"
    )
    assert made == {
        ("if", "if a and (not b): → if True:"),
        ("and/or", "a and (not b) → a or not b"),
        ("condition", "a and (not b) → not b"),
        ("condition", "a and (not b) → a"),
        ("sign", "a and (not b) → a and b"),
        ("left out", "raise ValueError('words', field='x') → pass"),
    }


def test_loops_handlers_and_arguments_are_changed(tmp_path):
    text = (
        "def f(rows):\n    for row in rows:\n        try:\n            g(row, most=1)\n"
        "        except (KeyError, TypeError):\n            break\n"
    )
    made = changes(tmp_path, text)
    assert {
        ("loop", "for row in rows: → for row in ():"),
        ("left out", "g(row, most=1) → pass"),
        ("argument", "g(row, most=1) → g(row)"),
        ("except", "(KeyError, TypeError) → (TypeError,)"),
        ("except", "(KeyError, TypeError) → (KeyError,)"),
        ("left out", "break → pass"),
        ("loop", "break → continue"),
    } <= made


def test_a_mutant_is_made_and_can_be_read_as_a_difference(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("LIMIT = 3\n\n\ndef f(a):\n    return a < LIMIT\n")
    source = Source(file)
    number = next(n for n, mutant in enumerate(source.mutants) if mutant.change == "a < LIMIT → a <= LIMIT")
    mutant = source.mutants[number]
    assert (mutant.function, mutant.line, mutant.at_import) == ("f", "return a < LIMIT", False)
    assert source.difference(mutant) == "-     return a < LIMIT\n+     return a <= LIMIT"
    names: dict = {}
    exec(source.compiled(mutant), names)
    assert names["f"](3) is True
    assert [one.at_import for one in source.mutants if one.function == ""] == [True, True]
    assert ast.unparse(ast.parse(file.read_text())).startswith("LIMIT = 3")
