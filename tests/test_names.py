"""Names that a stranger can search for."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.support.samples import REPOSITORY

PARTICIPLES = ("ed", "wn", "ept", "ought", "ung", "oken", "iven")
VERBS = {"embed", "feed", "need", "seed", "shed", "own"}
"""Words with such an ending that are no participles."""


def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in (REPOSITORY / "wsisr").rglob("*.py")}


def is_property(function: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_a_public_top_level_name_exists_once() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for path, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(str(path.relative_to(REPOSITORY)))
    assert {name: sorted(paths) for name, paths in homes.items() if len(paths) > 1} == {}


def test_no_function_begins_with_a_participle() -> None:
    """`written(...)` does not say who does what; `write_block(...)` and the property `is_written` do."""
    found = []
    for path, tree in modules().items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and not is_property(node)]
        for function in functions:
            first = function.name.strip("_").split("_")[0]
            if first.endswith(PARTICIPLES) and first not in VERBS:
                found.append(f"{path.relative_to(REPOSITORY)}: {function.name}")
    assert found == []
