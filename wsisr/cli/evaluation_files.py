"""Files of `wsisr evaluate`: the scores as JSON for programs, and as a page for people."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli.report_format import HTML_SUFFIXES, is_page
from wsisr.remote.path import hide_secrets

if TYPE_CHECKING:
    from wsisr.evaluation import ExamplePatch, FlatProbe, ScoreRow
    from wsisr.evaluation.page import ExampleSet
    from wsisr.models.upscaler import Upscaler


@dataclass
class EvaluationFiles:
    """The files of an evaluation, each in the format that its name stands for."""

    paths: Sequence[Path]
    overwrite: bool
    failed: list[dict[str, str]] = field(default_factory=list)
    """Name and error of each slide that could not be evaluated."""
    _examples: dict[str, ExampleSet] = field(default_factory=dict)
    """Best and worst patch by the label of their input."""

    def check(self) -> None:
        """Raise `OutputError` if one of the files could not be written. It is cheap: call it before any work."""
        from wsisr.errors import OutputError
        from wsisr.files import check_output, check_suffix

        for path in self.paths:
            check_suffix(path, (".json", *HTML_SUFFIXES))
            check_output(path, overwrite=self.overwrite)
        if len({path.resolve() for path in self.paths}) < len(self.paths):
            raise OutputError(f"{self.paths[0]}: is the file of --json too; choose another name")

    def add_example(self, patch: ExamplePatch, slide: Path, label: str) -> None:
        """Keep a patch, if it is the best or the worst on its input and a page is to be written."""
        from wsisr.evaluation.page import ExampleSet

        if any(map(is_page, self.paths)):
            self._examples.setdefault(label, ExampleSet()).add(patch, slide.name)

    def write(
        self,
        upscaler: Upscaler,
        rows: Sequence[ScoreRow],
        probes: Sequence[FlatProbe],
        derive_case: Callable[[Path], str],
    ) -> None:
        """Write all files, each whole or not at all."""
        from wsisr.evaluation import build_json_report
        from wsisr.evaluation.page import EvaluationResult, render_evaluation
        from wsisr.files import write_atomically

        info = upscaler.info
        for path in sorted(self.paths, key=is_page):  # the scores first: a page that cannot be drawn costs nothing else
            if is_page(path):
                result = EvaluationResult(
                    model=info.name,
                    hardware=info.hardware,
                    scale=info.scale,
                    weights_sha256=info.weights.sha256 if info.weights else None,
                    rows=rows,
                    probes=probes,
                    derive_case=derive_case,
                    examples=self._examples,
                    facts=dict(_list_facts()),
                )
                text = render_evaluation(result)
            else:
                report = {"model": info.name, "scale": info.scale} | build_json_report(rows, probes, derive_case)
                report["failed"] = self.failed
                text = json.dumps(report, indent=2, allow_nan=False) + "\n"
            write_atomically(path, [text.encode("utf-8", "replace")], overwrite=self.overwrite)


def _list_facts() -> Iterator[tuple[str, str | None]]:
    """Yield the command and the versions of what computed the scores."""
    from datetime import UTC, datetime

    from wsisr.cli.run_report import describe_versions

    yield "command", shlex.join(["wsisr", *map(hide_secrets, sys.argv[1:])])
    yield "written", datetime.now(UTC).isoformat(timespec="seconds")
    yield from describe_versions().items()
