"""The package stays readable: files, functions and rooms have a size that one can take in."""

import ast
from pathlib import Path

import airflow_provider_distkeras

PACKAGE = Path(airflow_provider_distkeras.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES, MAX_FUNCTION_LINES, MAX_FILES = 350, 50, 14


def names(paths):
    return [str(path.relative_to(PACKAGE)) for path in paths]


def test_no_file_is_too_long():
    assert names(path for path in FILES if len(path.read_text().splitlines()) > MAX_LINES) == []


def test_no_function_is_too_long():
    functions = [
        (f"{path.relative_to(PACKAGE)}:{node.name}", node.end_lineno - node.lineno + 1)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [name for name, lines in functions if lines > MAX_FUNCTION_LINES] == []


def test_no_room_has_too_many_files():
    rooms = {path.parent for path in FILES}

    assert names(room for room in rooms if len([*room.glob("*.py")]) > MAX_FILES) == []
