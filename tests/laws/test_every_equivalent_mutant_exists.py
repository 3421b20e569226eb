"""The mutants: each changes one thing, and the list of those that no test can notice names mutants that exist."""

import ast
from pathlib import Path

from tests.mutants.changes import compiled, mutants_of
from tests.mutants.table import ROOT, modules_of, read_table
from tests.mutants.touched import _lines_of

GUARD = """
LIMIT = 18

def admit(ages, key):
    \"\"\"A docstring has no 1 to change.\"\"\"
    if min(ages) < LIMIT or not key:
        log(1)
        raise Refused
    for age in ages:
        if age:
            continue
        return False
    return True
"""


def test_each_kind_of_guard_is_changed(tmp_path: Path) -> None:
    """A comparison, a condition, a refusal, a number, a truth value and a call are each changed by themselves."""
    (tmp_path / "guard.py").write_text(GUARD)
    changes = {(mutant.was, mutant.becomes) for mutant in mutants_of(tmp_path, "guard.py")}
    test = "if min(ages) < LIMIT or not key:"
    assert changes == {
        ("LIMIT = 18", "LIMIT = 19"),
        (test, "if max(ages) < LIMIT or not key:"),
        (test, "if min(ages) <= LIMIT or not key:"),
        (test, "if min(ages) >= LIMIT or not key:"),
        (test, "if min(ages) < LIMIT:"),
        (test, "if not key:"),
        (test, "if min(ages) < LIMIT or key:"),
        ("log(1)", "pass"),
        ("log(1)", "log(2)"),
        ("raise Refused", "pass"),
        ("if age:", "if not age:"),
        ("continue", "pass"),
        ("return False", "pass"),
        ("return False", "return True"),
        ("return True", "return False"),
    }


def test_every_mutant_is_another_program(tmp_path: Path) -> None:
    """Each mutant compiles to code that differs from the module's and from every other mutant's."""
    (tmp_path / "guard.py").write_text(GUARD)
    unchanged = compile(ast.parse(GUARD), str(tmp_path / "guard.py"), "exec")
    mutants = [compiled(tmp_path, mutant) for mutant in mutants_of(tmp_path, "guard.py")]
    assert len({unchanged, *mutants}) == len(mutants) + 1


DIFFERENCE = """\
--- a/shared/a.py
+++ b/shared/a.py
@@ -3 +3 @@ def f():
@@ -7,2 +7,3 @@ def g():
@@ -20,4 +22,0 @@ def h():
--- a/shared/gone.py
+++ /dev/null
@@ -1,9 +0,0 @@
--- /dev/null
+++ b/shared/b.py
@@ -0,0 +1,2 @@
"""


def test_the_lines_of_a_change_are_those_that_it_leaves() -> None:
    """One, several or none at a place; a file that is deleted has none."""
    lines = {path: sorted(touched) for path, touched in _lines_of(DIFFERENCE).items() if touched}
    assert lines == {"shared/a.py": [3, 7, 8, 9], "shared/b.py": [1, 2]}


def test_every_equivalent_mutant_exists() -> None:
    """An entry of `tests/mutants.toml` names a mutant of a room in the table, once, as the code now is."""
    table = read_table()
    entries = [entry.name for entry in table.equivalent]
    paths = {path for path, *_ in entries}
    assert paths <= {path for room in table.rooms for path in modules_of(room)}
    assert len(set(entries)) == len(entries)
    assert set(entries) <= {mutant.name for path in paths for mutant in mutants_of(ROOT, path)}


def test_every_test_in_the_table_exists() -> None:
    """Every room in `tests/mutants.toml` and each of its tests is there."""
    table = read_table()
    paths = {path.partition("::")[0] for room, tests in table.rooms.items() for path in (room, *tests)}
    assert all((ROOT / path).exists() for path in paths)
