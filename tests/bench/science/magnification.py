"""What an MMSRNet makes of slides' pixel pitches, rightly told and wrongly: `wsisr upscale` would warn or not.

    python -m tests.bench magnification SLIDE... --model mmsrnet-x2 [--json FILE]

Each level whose pitch stands for one of the model's magnifications is looked at as `wsisr upscale` does it, once under
its own pitch, where a warning is a false alarm, and once under each pitch of another magnification, where one is due.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np

from tests.bench.result_tables import Row, report
from wsisr.models.catalog import find_model
from wsisr.models.loading import load_magnification_classifier
from wsisr.models.magnification import MagnificationClassifier
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion
from wsisr.tissue import find_tissue
from wsisr.upscaling.magnification_check import is_contradicted, read_windows


def rows_of(path: Path, sight: MagnificationClassifier) -> Iterator[Row]:
    """Levels, the finest first; those that hold no tissue, or are of no known magnification, are left out."""
    with open_slide(path, estimate=True) as slide:
        tissue = find_tissue(slide)
        for level in range(len(slide.info.levels)):
            source = SlideRegion(slide, level)
            due = sight.spec.magnification_class(source.mpp or 0.0)
            windows = read_windows(source, tissue)
            if due is None or not windows:
                continue
            shares = sight(np.stack(windows))
            seen = int(shares.argmax())
            others = [each for each in range(len(shares)) if each != due]
            yield {
                "slide": path.stem,
                "um/px": source.mpp or 0.0,
                "magnification": f"{sight.spec.magnifications[due]:g}x",
                "seen": f"{sight.spec.magnifications[seen]:g}x",
                "share of its own": float(shares[due]),
                "told right": float(seen == due),
                "false alarms": float(is_contradicted(shares, due)),
                "wrong pitches caught": fmean(is_contradicted(shares, each) for each in others),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description="What an MMSRNet makes of slides' pixel pitches.")
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--model", default="mmsrnet-x2")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sight = load_magnification_classifier(asked.model, scale=find_model(asked.model).spec.scale, device="cpu")
    if sight is None:
        parser.error(f"{asked.model} tells no magnifications apart")
    rows = [row for path in asked.slides for row in rows_of(path, sight)]
    shares = {name: fmean(float(row[name]) for row in rows) for name in list(rows[0])[4:]}
    report(rows, asked.json, levels=len(rows), **shares)


if __name__ == "__main__":
    main()
