"""All score tables of the models' cards, of every shipped model or of those named.

    python -m tests.bench cards DEV/*.svs --demo data/cmu_small_region.svs -o build/cards [--model NAME] [--limit-px N]

Of each model NAME.md, Markdown to paste into its card, and NAME.json, every row. A model whose JSON is there, of the
same weights, slides and limit, is not measured again: killed, the same command goes on with the next model. Tables, as
stored first: by input (truth is level 0; as stored, clean, JPEG of quality 90 to 30, densities, pixel sizes, stored
levels), by slide, by pixel size (all levels), made-up flat images, and the demo slide. Of a level beyond the limit,
evenly spread blocks are measured. The branch's table is that of `python -m tests.bench magnification`.

One region takes mmsrnet-x2 43 s of one core (AMD EPYC, limit 1.1 Mpx), so ten regions about seven minutes; a `best`
model takes about four times as long, all twelve shipped ones about two hours of one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from wsisr.evaluation import (
    AS_STORED,
    EvaluationInput,
    FlatProbe,
    Sampling,
    ScoreRow,
    build_json_report,
    evaluate_level,
    list_inputs,
    list_levels_to_evaluate,
    list_stored_inputs,
    measure_flat_images,
    summarise_rows,
)
from wsisr.files import write_atomically
from wsisr.models.catalog import Model, find_model, list_shipped_models
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import open_slide

CLEAN = (EvaluationInput("area"), EvaluationInput("bicubic"))
QUALITIES = (90, 70, 50, 30)
TRUTH_SIZES = (0.25, 0.5, 1.0, 2.0)
"""Pixel sizes of truths in um/px, to the nearest of which a level counts."""


@dataclass(frozen=True)
class Request:
    """What is measured of every model."""

    slides: Sequence[Path]
    demo: Path | None
    limit_px: int

    def digest(self, model: Model) -> str:
        """Of the weights and of what they are measured on."""
        facts = [[path.name, path.stat().st_size] for path in (*self.slides, *([self.demo] if self.demo else []))]
        weights = hashlib.sha256(model.path.read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps([weights, facts, self.limit_px]).encode()).hexdigest()


def finest_inputs(scale: int, path: Path) -> list[EvaluationInput]:
    """Inputs whose truth is level 0."""
    jpeg = [EvaluationInput("area", quality) for quality in QUALITIES]
    varied = list_inputs(["area"], densities=True, pixel_sizes=True)
    with open_slide(path, estimate=True) as slide:
        stored = [EvaluationInput(None, stored_level=level) for level in list_stored_inputs(slide.info, scale)]
    return list(dict.fromkeys([AS_STORED, *CLEAN, *jpeg, *varied, *stored]))


def measured(
    path: Path, upscaler: Upscaler, inputs: Sequence[EvaluationInput], level: int, limit: int
) -> list[ScoreRow]:
    with open_slide(path, estimate=True) as slide:
        steps = (
            step
            for source in inputs
            for step in evaluate_level(slide, upscaler, level, source, Sampling(limit_px=limit))
        )
        return [step for step in steps if isinstance(step, ScoreRow)]


def rows_of(path: Path, upscaler: Upscaler, limit_px: int) -> Iterator[ScoreRow]:
    """All rows of a slide, the finest level first."""
    yield from measured(path, upscaler, finest_inputs(upscaler.info.scale, path), 0, limit_px)
    with open_slide(path, estimate=True) as slide:
        coarser = [level for level in list_levels_to_evaluate(slide.info) if level]
    for level in coarser:
        yield from measured(path, upscaler, (AS_STORED, *CLEAN), level, limit_px)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, the first column to the left and the others to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def by_input(rows: Sequence[ScoreRow]) -> str:
    lines = []
    for item in summarise_rows(rows).inputs:
        interval = "" if item.interval is None else f"{item.interval[0]:+.2f} to {item.interval[1]:+.2f}"
        of_input = [row for row in rows if row.source.label == item.label]
        least = min(row.gain - row.back_projection_gain for row in of_input)
        numbers = f"{item.back_projection_gain:+.2f}", f"**{item.gain:+.2f}**", interval, f"{item.worst.gain:+.2f}"
        lines.append([item.label, *numbers, f"{least:+.2f}"])
    return table(
        ["input", "back-projection", "model, dB", "95 % of cases", "worst row", "least above back-projection"], lines
    )


def by_slide(rows: Sequence[ScoreRow]) -> str:
    lines = []
    for slide in dict.fromkeys(row.slide for row in rows):
        own = [row for source in (AS_STORED, *CLEAN) for row in rows if row.slide == slide and row.source == source]
        sizes = f"{own[0].mpp_lr:.3g} > {own[0].mpp_hr:.3g}" if own[0].mpp_lr and own[0].mpp_hr else "unknown"
        cells = [" / ".join(f"{value(row):{form}}" for row in own) for value, form in COLUMNS]
        lines.append([slide.stem, sizes, *cells])
    head = "bicubic dB", "back-projection", "model", "SSIM bicubic", "SSIM model", "consistency error"
    return table(["slide", "um/px", *head], lines)


COLUMNS: tuple[tuple[Any, str], ...] = (
    (lambda row: row.bicubic.psnr, ".2f"),
    (lambda row: row.back_projection_gain, "+.2f"),
    (lambda row: row.gain, "+.2f"),
    (lambda row: row.bicubic.ssim, ".3f"),
    (lambda row: row.model.ssim, ".3f"),
    (lambda row: row.model.consistency_error, ".2f"),
)


def by_pixel_size(rows: Sequence[ScoreRow]) -> str:
    lines = []
    for size in TRUTH_SIZES:
        own = [
            [row for row in rows if row.source == source and row.mpp_hr and 2**-0.5 < row.mpp_hr / size <= 2**0.5]
            for source in (AS_STORED, *CLEAN)
        ]
        if own[0]:
            baselines = " / ".join(f"{fmean(row.back_projection_gain for row in each):+.2f}" for each in own)
            means = [baselines, " / ".join(f"{fmean(row.gain for row in each):+.2f}" for each in own)]
            lines.append(
                [f"{size:g}", str(len(own[0])), *means, f"{min(row.gain for each in own for row in each):+.2f}"]
            )
    return table(["truth at about, um/px", "levels", "back-projection, dB", "model, dB", "worst row"], lines)


def flat_table(probes: Sequence[FlatProbe]) -> str:
    lines = [[probe.name, probe.source.label, f"{probe.gain:+.2f}", str(probe.largest_error)] for probe in probes]
    return table(["made-up image", "input", "model, dB", "largest error"], lines)


def card(model: Model, request: Request) -> tuple[str, dict[str, Any]]:
    """The Markdown and the JSON of a model."""
    upscaler = load_upscaler(model.name, scale=model.spec.scale)
    rows = [row for path in request.slides for row in rows_of(path, upscaler, request.limit_px)]
    probes = measure_flat_images(upscaler, (AS_STORED, *CLEAN))
    finest = [row for row in rows if row.level == 0]
    sections = {
        "By input, truth is level 0": by_input(finest),
        "By slide, as stored / area / bicubic": by_slide(finest),
        "By pixel size, all levels": by_pixel_size([row for row in rows if row.source.coarsening == 1]),
        "Made-up flat images": flat_table(probes),
    }
    facts = build_json_report(rows, probes)
    if request.demo:
        demo = measured(request.demo, upscaler, (AS_STORED, *CLEAN), 0, request.limit_px)
        sections["Demo slide"] = by_input(demo)
        facts["demo"] = build_json_report(demo, probes)["rows"]
    text = "".join(f"## {title}\n\n{body}\n" for title, body in sections.items())
    return f"# {model.name}: gain over Pillow's bicubic in dB\n\n{text}", facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--model", action="append", help="may be repeated; by default every shipped model")
    parser.add_argument("--limit-px", type=int, default=1_100_000)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/cards"))
    asked = parser.parse_args()
    request = Request(asked.slides, asked.demo, asked.limit_px)
    models = [find_model(name) for name in asked.model] if asked.model else list_shipped_models()
    asked.output.mkdir(parents=True, exist_ok=True)
    for model in models:
        file, digest, began = asked.output / f"{model.name}.json", request.digest(model), time.monotonic()
        if file.exists() and json.loads(file.read_text()).get("digest") == digest:
            sys.stdout.write(f"{model.name}: measured before\n")
            continue
        text, facts = card(model, request)
        write_atomically(file.with_suffix(".md"), [text.encode()], overwrite=True)
        facts |= {"digest": digest, "spec": asdict(model.spec), "seconds": round(time.monotonic() - began)}
        write_atomically(file, [json.dumps(facts, indent=2).encode()], overwrite=True)
        sys.stdout.write(f"{model.name}: {facts['seconds']} s\n{text}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
