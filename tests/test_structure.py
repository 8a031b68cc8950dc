"""The package and its tests stay readable: files, functions and rooms have a limited size."""

import ast
import sys
from pathlib import Path

import airflow_provider_distkeras

PACKAGE = Path(airflow_provider_distkeras.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES, MAX_FILES = 350, 400, 50, 14


def names(paths, root=PACKAGE):
    return [str(path.relative_to(root)) for path in paths]


def longer_than(lines, paths):
    return [path for path in paths if len(path.read_text().splitlines()) > lines]


def test_no_file_is_too_long():
    assert names(longer_than(MAX_LINES, FILES)) == []


def test_no_file_of_tests_is_too_long():
    assert names(longer_than(MAX_TEST_LINES, TESTS.rglob("*.py")), TESTS) == []


def test_no_function_is_too_long():
    functions = [
        (f"{path.relative_to(PACKAGE)}:{node.name}", node.end_lineno - node.lineno + 1)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [name for name, lines in functions if lines > MAX_FUNCTION_LINES] == []


def imported_by(path):
    """The top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def test_the_contract_is_standard_library_only():
    contract = [path for path in FILES if path.is_relative_to(PACKAGE / "contract")]
    imported = {package for path in contract for package in imported_by(path)}

    assert imported - sys.stdlib_module_names == {PACKAGE.name}


def test_the_provider_info_imports_no_other_package():
    assert {*imported_by(PACKAGE / "get_provider_info.py")} <= {"__future__", "typing", PACKAGE.name}


def test_no_room_has_too_many_files():
    rooms = {path.parent for path in FILES}

    assert names(room for room in rooms if len([*room.glob("*.py")]) > MAX_FILES) == []
