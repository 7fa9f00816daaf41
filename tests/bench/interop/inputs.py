"""Print the table of docs/inputs.md: what each format opens as, and how far its pixels are from another library's.

python -m tests.bench inputs
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.support.inputs import INPUTS, Examination, Input, examine_input


def cells(each: Input, found: Examination) -> list[str]:
    if found.info is None:
        return [each.name, each.sample, f"refused: {found.refusal}", "", "", ""]
    read = [found.info.reader, str(len(found.sizes)), f"{found.info.mpp:.4g}" if found.info.mpp else "by --mpp"]
    return [each.name, each.sample, *read, f"{found.error}, against {each.other_reader}"]


HEADER = "| format | sample | read by | levels | um/px | largest error of a pixel, all levels |"


def main() -> None:
    print(HEADER + "\n|---|---|---|--:|--:|---|")  # noqa: T201
    for each in INPUTS:
        if each.is_available:
            with TemporaryDirectory() as folder:
                print("| " + " | ".join(cells(each, examine_input(each, Path(folder)))) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
