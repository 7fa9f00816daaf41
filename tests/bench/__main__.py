"""`python -m tests.bench` lists the benches, a line each; `python -m tests.bench NAME ...` runs one."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

GROUPS = ("speed", "science", "interop", "faults")
"""Folders beside this file."""


def find_benches() -> dict[str, Path]:
    """Name of each bench to its file, group by group."""
    here = Path(__file__).parent
    return {path.stem: path for group in GROUPS for path in sorted((here / group).glob("[!_]*.py"))}


def list_benches() -> str:
    """A heading for each group, and the first sentence of each bench's docstring."""
    lines = []
    for group in GROUPS:
        lines.append(f"\n{group}")
        for name, path in find_benches().items():
            if path.parent.name == group:
                docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
                lines.append(f"  {name:20} {docstring.splitlines()[0].split(': `python')[0].rstrip('.')}")
    return "\n".join(lines).lstrip()


def main() -> None:
    """Run the bench that the first argument names, as a command of its own."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"usage: python -m tests.bench NAME [OPTIONS]\n\n{list_benches()}\n")
        return
    name = sys.argv.pop(1)
    path = find_benches().get(name)
    if path is None:
        sys.stderr.write(f"no bench is called {name}; see python -m tests.bench\n")
        sys.exit(2)  # as for any usage error
    sys.argv[0] = f"python -m tests.bench {name}"
    runpy.run_module(f"tests.bench.{path.parent.name}.{name}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
