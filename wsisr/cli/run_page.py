"""Page of a run: its report as HTML, with pictures of each finished result."""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from wsisr.cli.console import print_traceback
from wsisr.cli.progress import format_duration
from wsisr.cli.report_format import RUN_META
from wsisr.cli.result_section import ResultSection, render_result_pictures
from wsisr.cli.summary import format_bytes, format_mpp
from wsisr.cli.verdicts import Verdict, judge_consistency, judge_seams
from wsisr.errors import WsisrError
from wsisr.imaging.geometry import Box
from wsisr.progress import format_count
from wsisr.reports.templating import render_template
from wsisr.upscaling.methods import DERIVED_STATEMENT, RESAMPLED_STATEMENT, describe_methods, uses_network
from wsisr.upscaling.provenance import read_derived_metadata
from wsisr.upscaling.report import ConsistencyFigures, SeamFigures
from wsisr.upscaling.result_pictures import read_result_pictures
from wsisr.upscaling.trust.summary import TrustSummary

if TYPE_CHECKING:
    from wsisr.upscaling.request import UpscaleRequest

Row = Mapping[str, Any]

PICTURES_BUDGET_BYTES = 12_000_000
"""HTML of all pictures; slides beyond it are shown in figures only."""

FEW_SLIDES, PLACES_OF_FEW, PLACES_OF_MANY = 8, 3, 1
"""Slides up to which each shows three places of each kind; of more slides, each shows one."""

MAX_METHODS_CHARACTERS = 4000
MAX_WARNINGS = 20
"""Warnings of a slide that are listed."""

NO_PICTURES = ResultSection(Markup(), Markup())

SHOWN_STATES = ("done", "finished before")
"""States of slides whose results exist."""


@dataclass
class RunPage:
    """Draws the page of a run. The pictures of a slide are read once, when it is finished."""

    requests: Mapping[str, UpscaleRequest]
    """What was requested, by the path of its result."""
    _pictures: dict[str, tuple[ResultSection, str]] = field(default_factory=dict)
    """Pictures by the path of their result, and why there are none."""
    _notes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """What results record of themselves, by their paths."""
    _remaining: int = PICTURES_BUDGET_BYTES

    def render(self, report: Mapping[str, Any]) -> bytes:
        """Return the page of a report, in UTF-8."""
        rows, run = report["slides"], report["run"]
        identity = {key: run.get(key) for key in ("started", "host", "process", "shard", "exit_code")}
        is_over = run["exit_code"] is not None
        sections = [self._render_slide(row, number, is_over=is_over) for number, row in enumerate(rows)]
        page = render_template(
            "run/report.html",
            meta_name=RUN_META,
            meta=json.dumps({"wsisr": report["wsisr"], "schema": report["schema"], "run": identity, "slides": []}),
            title=_make_title(rows, run),
            figures=list(_list_figures(rows, run)),
            is_single=run["totals"]["slides"] == 1,
            table=[
                (Path(row["slide"]).name, row["state"], f"slide-{number}", list(_list_cells(row)))
                for number, row in enumerate(rows)
            ],
            totals=_describe_totals(rows, run),
            sections=sections,
            statement=_choose_statement([note for row in rows if (note := self._find_note(row))]),
            run_facts=list(_list_run_facts(run)),
            versions=run["versions"],
            is_over=is_over,
            version=report["wsisr"],
        )
        return str(page).encode("utf-8", "replace")

    def _render_slide(self, row: Row, number: int, *, is_over: bool) -> Markup:
        pictures, reason = self._draw_pictures(row, is_over=is_over)
        note = self._find_note(row)
        return render_template(
            "run/slide.html",
            anchor=f"slide-{number}",
            slide_name=Path(row["slide"]).name,
            state=row["state"],
            output=str(row["output"]),
            model=note.get("model"),
            error=row.get("error"),
            facts=list(_list_facts(row, note)),
            warnings=list(_list_warnings(row, note))[:MAX_WARNINGS],
            overview=pictures.overview,
            places=pictures.places,
            reason=reason,
            methods=describe_methods(note)[:MAX_METHODS_CHARACTERS] if note else "",
            note=note,
        )

    def _draw_pictures(self, row: Row, *, is_over: bool) -> tuple[ResultSection, str]:
        """Return the pictures of a finished result, or why there are none; never fails, for the result is done."""
        output = str(row["output"])
        if row["state"] not in SHOWN_STATES:
            return NO_PICTURES, ""
        if row["state"] != "done" and not is_over:  # many such slides must not keep the others waiting
            return NO_PICTURES, "The pictures of a slide that was finished before follow when the run is over."
        if output not in self._pictures:
            self._pictures[output] = self._try_drawing(output, row)
        return self._pictures[output]

    def _find_note(self, row: Row) -> Mapping[str, str]:
        """Return what the result records of itself; empty if there is none."""
        if row["state"] not in SHOWN_STATES:
            return {}
        output = str(row["output"])
        if output not in self._notes:
            self._notes[output] = row["note"] if "note" in row else read_derived_metadata(Path(output))
        return self._notes[output]

    def _try_drawing(self, output: str, row: Row) -> tuple[ResultSection, str]:
        request = self.requests.get(output)
        if request is None:
            return NO_PICTURES, "This page was written without pictures."
        if self._remaining <= 0:
            return NO_PICTURES, "The page has no room for more pictures; a run of this slide alone has its own."
        try:
            pictures = self._read_pictures(request, row)
        except (WsisrError, OSError) as error:
            return NO_PICTURES, f"There are no pictures: {error}"
        except Exception as error:  # noqa: BLE001 - printed with its traceback; the result itself is finished
            print_traceback(traceback.format_exc())
            return NO_PICTURES, f"There are no pictures, by a bug of wsisr's: {type(error).__name__}"
        self._remaining -= sum(map(len, pictures))
        return pictures, ""

    def _read_pictures(self, request: UpscaleRequest, row: Row) -> ResultSection:
        note = self._find_note(row)
        pictures = read_result_pictures(
            request,
            _list_worst_tiles(row),
            places=PLACES_OF_FEW if len(self.requests) <= FEW_SLIDES else PLACES_OF_MANY,
            finds_tissue="background" in note,
        )
        return render_result_pictures(pictures, mpp=row.get("mpp"), shows_detail=uses_network(note))


def _list_worst_tiles(row: Row) -> list[Box]:
    """Return the tiles of the largest consistency error, in px of the result."""
    side = row.get("tile_px", 0) * int(row.get("note", {}).get("scale", 1))
    tiles = row.get("residual", {}).get("tiles", [])
    return [
        Box(left, top, min(left + side, row["width"]), min(top + side, row["height"]))
        for left, top in (tile["at"] for tile in tiles)
    ]


def _choose_statement(notes: Sequence[Mapping[str, str]]) -> str:
    """Return what every reader must know: that of a network, unless all results are known to have none."""
    plain = bool(notes) and not any(map(uses_network, notes))
    return RESAMPLED_STATEMENT if plain else DERIVED_STATEMENT


def _make_title(rows: Sequence[Row], run: Mapping[str, Any]) -> str:
    if run["totals"]["slides"] == 1 and rows:
        return Path(rows[0]["slide"]).name
    return format_count(run["totals"]["slides"], "slide")


def _list_figures(rows: Sequence[Row], run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the numbers at the head of the page, each with its meaning."""
    totals, states = run["totals"], run["totals"]["states"]
    if totals["slides"] == 1 and rows and rows[0]["state"] == "done":
        row = rows[0]
        yield f"x{row['note']['scale']}", "along each axis"
        yield f"{row['width']:,} x {row['height']:,}", "px of the result"
        yield format_mpp(row["mpp"]), "its pixel size"
    else:
        yield f"{totals['slides']:,}", "slides of the run"
        yield f"{states.get('done', 0) + states.get('finished before', 0):,}", "finished"
        yield f"{states.get('failed', 0):,}", "failed"
    yield f"{totals['pixels'] / 1e6:,.4g} Mpx", "made in this run"
    yield format_duration(totals["seconds"]), "of work"
    yield format_bytes(totals["bytes"]), "of results"


def _list_cells(row: Row) -> Iterator[str]:
    """Yield the cells of a slide in the table of all: size, pixel size, network, seams, consistency, time, bytes."""
    done = row["state"] == "done"
    yield f"{row['width'] * row['height'] / 1e6:,.3g}" if done else ""
    yield f"{row['mpp']:.4g}" if done and row["mpp"] else ""
    yield f"{100 * (1 - row['skipped']):.3g} %" if done else ""
    yield f"{row['seams']['mean']:.2f}, {row['seams']['worst']:.2f}" if row.get("seams") else ""
    yield f"{row['residual']['mean']:.1f}, {row['residual']['worst']:.1f}" if row.get("residual") else ""
    yield format_duration(row["seconds"]) if done else ""
    yield format_bytes(row["bytes"]) if done and row["bytes"] is not None else ""


def _describe_totals(rows: Sequence[Row], run: Mapping[str, Any]) -> list[str]:
    totals = run["totals"]
    states = totals["states"] | ({"not begun": totals["slides"] - len(rows)} if len(rows) < totals["slides"] else {})
    return [
        ", ".join(f"{count} {state}" for state, count in states.items()),
        f"{totals['pixels'] / 1e6:,.3g}",
        *[""] * 4,
        format_duration(totals["seconds"]),
        format_bytes(totals["bytes"]),
    ]


def _list_facts(row: Row, note: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what was done with a slide and measured, each with its name."""
    if "case" in row:
        yield "case", row["case"]
    if note:
        yield "model", f"{note.get('model', '')}, {note.get('computed', '')}"
        yield "size", f"{note.get('source size', '')} to {note.get('size', '')}"
        yield (
            "pixel size",
            f"{note.get('source mpp', '')} to {note.get('mpp', '')} um/px, {note.get('source pitch', '')}",
        )
        yield "background", note.get("background", "none: all of the area may hold tissue")
    if "residual" in row:
        yield from _list_measurements(row)
    if "trust" in row:
        yield "trust", _describe_trust(row["trust"])
    if "seconds" in row:
        before = row["finished_before"]
        resumed = f", after {100 * before:.0f} % that an earlier run had finished" if before else ""
        yield "time", f"{format_duration(row['seconds'])}{resumed}"
    if row.get("bytes") is not None:
        yield "file size", format_bytes(row["bytes"])
    if row["state"] in SHOWN_STATES:
        yield "result", str(row["output"])


def _describe_trust(trust: Mapping[str, Any]) -> str:
    """Return what the trust layer says of the tissue, in words."""
    within = {int(level): share for level, share in trust["within"].items()}
    return str(TrustSummary(trust["cells"], within, trust["unknown"], trust["scanner"]))


def _list_measurements(row: Row) -> Iterator[tuple[str, str]]:
    seams, consistency = _judge_row(row)
    ratio = f" (mean ratio {row['seams']['mean']:.2f}, worst {row['seams']['worst']:.2f})" if row["seams"] else ""
    errors = row["residual"]
    spread = f" (99.9 % of values within {errors['p99.9']}, worst tile {errors['worst']:.1f})"
    yield "seams", seams.text + ratio
    yield "consistency", consistency.text + spread
    if row["measured"] < 1:
        yield "measured", f"{100 * row['measured']:.0f} % of the tiles"


def _judge_row(row: Row) -> tuple[Verdict, Verdict]:
    """Return the verdicts on seams and on consistency."""
    seams, errors = row["seams"], row["residual"]
    figures = SeamFigures(seams["borders"], seams["mean"], seams["worst"], tuple(seams["at"])) if seams else None
    consistency = ConsistencyFigures(errors["mean"], errors["p99.9"], errors["worst"], tuple(errors["at"]))
    return judge_seams(figures), judge_consistency(consistency)


def _list_warnings(row: Row, note: Mapping[str, str]) -> Iterator[str]:
    """Yield every warning about a slide, each once."""
    texts = [*row.get("warnings", [])]
    texts += [note[key] for key in ("source remarks", "warning", "remarks") if key in note]
    if "residual" in row:
        names = ("seams", "consistency")
        texts += [f"{name}: {each.text}" for name, each in zip(names, _judge_row(row), strict=True) if not each.is_good]
    if "unreadable" in row:
        texts.append(f"not all of the slide could be decoded: {row['unreadable']}")
    if "no_tissue" in row:
        texts.append("no tissue was found in what was enlarged, so nothing of the result is a network's work")
    yield from dict.fromkeys(texts)


def _list_run_facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "command", shlex.join(["wsisr", *run["command"][1:]])
    yield "folder", run["folder"]
    yield "begun", f"{run['started']} on {run['host']}"
    yield "written", f"{run['written']}, after {format_duration(run['seconds'])}"
    yield "exit code", "none yet: the run is at work, or was killed" if run["exit_code"] is None else run["exit_code"]
    if run.get("shard"):
        yield "shard", run["shard"]
    hidden = ("slides", "output", "report")
    options = {name: value for name, value in run["configuration"].items() if name not in hidden}
    yield "options", ", ".join(f"{name} {value}" for name, value in options.items()) or "all at their defaults"
