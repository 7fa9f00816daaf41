"""Names of cases: the patient or specimen that the name of a slide's file tells, by the field's conventions.

Where a name leaves it open, slides are rather taken for one case too many than for two: two cases of one patient would
put that patient on both sides of a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

CONVENTIONS = (
    r"TCGA-\w{2}-\w{4}",  # of TCGA-02-0001-01Z-00-DX1.83FCE43E-….svs
    r"TARGET-\d{2}-[^\W_]{6}",
    r"GTEX-[^\W_]+",  # of GTEX-1117F-0126.svs
    r"(?:C3[LN]|MSB)-\d{5}",  # CPTAC: of C3L-00001-21.svs
    r"(?:tumor|normal|test)_\d+",  # CAMELYON16
    r"\d{2}_\d{2}_\d{4}",  # PAIP 2019: 01_01_0083.svs
    r"(?:[^_.]*[- ])?(?:case|patient|subject|donor|specimen)[-_ ]?\d+",  # CAMELYON17: of patient_000_node_1.tif
    r"[A-Z]{1,3}\d{2}(?:-\d{4,}|\.\d{3,})",  # a laboratory's numbers: of S21-12345-A1.svs, HP19.754.A5.scn
    r"(?:19|20)\d{2}-\d{3,}",
)
"""What names a case at the beginning of a file name, in capitals or not."""

_CONVENTION = re.compile("|".join(CONVENTIONS), re.IGNORECASE)

_PART_OF_CASE = re.compile(
    r"(?:[- ]+(?:[A-Z]?\d{1,2}[A-Z]?|[A-Z]|(?:slide|section|block|level|part)\w{0,2}|H&?E\d?|IHC|PAS))+$",
    re.IGNORECASE,
)
"""The block, section or stain at the end of a name: `-A1`, `-2`, ` B`, `-HE`."""

_NUMBERED = re.compile(
    r"(?P<beginning>.*?[A-Z0-9])(?P<separator>[- ]+|(?<=[A-Z])(?=\d))(?P<number>[A-Z]?\d+[A-Z]?)$", re.IGNORECASE
)

FEW_CASES = 10
"""Most cases that one patient's slides could be: more under one beginning are a study's."""

MOST_NAMES = 3
"""Names of cases in a message."""


def derive_case_name(file_name: str) -> str:
    """Return what names the patient or specimen in the name of a slide's file."""
    known = _CONVENTION.match(file_name)
    if known:
        return known.group()
    first = re.match(r"[^_.]+", file_name)
    if first is None:
        return file_name.rpartition(".")[0] or file_name
    return _PART_OF_CASE.sub("", first.group()) or first.group()


@dataclass(frozen=True, slots=True)
class DoubtfulCases:
    """Two cases, one of each split, that could be one patient: only numbers at their ends differ."""

    train: str
    val: str

    @property
    def pattern(self) -> str:
        """A regular expression that takes both for one case."""
        beginning, separator, _ = _split_number(self.train)
        if not separator:
            return r"^\D+"
        return "^" + "[- ]".join([r"[^-_. ]+"] * len(re.split("[- ]", beginning)))

    def __str__(self) -> str:
        return (
            f"{self.train} is to train on and {self.val} to judge by, as two cases; if both are of one patient, scores "
            f"come out too high: give what names a patient in the file names, such as --case-pattern '{self.pattern}'"
        )


def find_doubtful_cases(train: Iterable[str], val: Iterable[str]) -> DoubtfulCases | None:
    """Return cases of both splits that could be one patient's; None where there are none.

    Known conventions are no doubt, nor are numbers of one study, which has many.
    """
    by_beginning: dict[str, tuple[list[str], list[str]]] = {}
    sides = set(train), set(val)
    for side, cases in enumerate(sides):
        for case in sorted(case for case in cases if not _CONVENTION.match(case)):
            beginning, separator, number = _split_number(case)
            if number:
                by_beginning.setdefault(beginning + separator, ([], []))[side].append(case)
    for beginning, (first, second) in by_beginning.items():
        count = len(first) + len(second)
        has_letter_only = beginning[-1].isalpha() and count == len(sides[0] | sides[1])  # P1, P2 and P3, all of them
        if first and second and count <= FEW_CASES and not has_letter_only:
            return DoubtfulCases(first[0], second[0])
    return None


def _split_number(case: str) -> tuple[str, str, str]:
    """Split `P12-003` into `P12`, `-` and `003`; the last is empty where no number ends the name."""
    match = _NUMBERED.match(case)
    return (match["beginning"], match["separator"], match["number"]) if match else (case, "", "")


def list_names(names: Iterable[str]) -> str:
    """Return `A, B, C, ...`: the first three of the names in their order."""
    ordered = sorted(names)
    return ", ".join(ordered[:MOST_NAMES]) + ", ..." * (len(ordered) > MOST_NAMES)
