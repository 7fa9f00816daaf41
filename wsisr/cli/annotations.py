"""`wsisr annotations`: marks of a slide on its result, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.options import choice_option, flag, slide_argument

if TYPE_CHECKING:
    from wsisr.tissue.annotation_frames import AnnotationOrigin, ResultFrame

SIDES = ("slide", "result")
GEOJSON_ENDINGS = (".geojson", ".json", ".geojson.gz", ".json.gz")


def annotations_command(
    file: Annotated[Path, slide_argument("GeoJSON, as QuPath exports it; .gz, too.", metavar="FILE.geojson")],
    result: Annotated[Path, typer.Option("--for", metavar="RESULT", help="Result of `wsisr upscale`.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.geojson",
            help="File to write. By default FILE.result or FILE.slide.geojson.",
        ),
    ] = None,
    side: Annotated[
        str,
        typer.Option("--from", metavar="slide|result", help="Where the marks were made, on the slide or its result."),
    ] = "slide",
    origin: Annotated[
        str,
        choice_option(
            "auto|canvas|bounds",
            help="What marks on the slide count from: its canvas, or as in QuPath the corner of what was scanned.",
        ),
    ] = "auto",
    slide: Annotated[
        Path | None,
        typer.Option(metavar="SLIDE", help="The slide, if it records scanned bounds (MIRAX, Leica)."),
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a file that exists.")] = False,
) -> None:
    """Move annotations from a slide to its result, or back."""
    from wsisr.cli.console import print_message, print_warnings
    from wsisr.files import check_output, write_atomically
    from wsisr.imaging.geometry import Box
    from wsisr.progress import format_count
    from wsisr.tissue.annotation_frames import (
        AnnotationFrame,
        ResultFrame,
        count_hits,
        encode_features,
        move_annotations,
        read_features,
    )
    from wsisr.writing import read_metadata

    where = _choose_origin(side, origin, slide)
    target = output or name_moved_file(file, side)
    _check_target(target, file)
    check_output(target, overwrite=overwrite)
    metadata = read_metadata(result)
    frame = ResultFrame.from_metadata(metadata, result)
    _check_size(frame, result)
    document = read_features(file)
    to_result = where.choose_frame(document, frame, file) if side == "slide" else AnnotationFrame(1.0, (0.0, 0.0))
    hits, count = count_hits(document, to_result, Box.from_size(frame.size))
    _check_hits(hits, count, file, result)
    moved = move_annotations(document, to_result if side == "slide" else where.choose_target(frame, file))
    content = encode_features(moved, compressed=target.suffix == ".gz")
    write_atomically(target, [content], overwrite=overwrite)
    print_warnings(_list_doubts(metadata))
    outside = f", {count - hits} of them outside of it" if hits < count else ""
    on = f"px of {result}" if side == "slide" else f"level-0 px of the slide of {result}"
    print_message(f"{target}: {format_count(count, 'annotation')} in {on}{outside}")


def name_moved_file(file: Path, side: str) -> Path:
    """Return `marks.result.geojson` for `marks.geojson` on a slide, `marks.slide.geojson` for marks on a result."""
    ending = _find_ending(file) or ".geojson"
    stem = file.name.removesuffix(ending)
    return file.with_name(f"{stem}.{'result' if side == 'slide' else 'slide'}{ending}")


def _choose_origin(side: str, origin: str, slide: Path | None) -> AnnotationOrigin:
    """Raises `OptionError` for choices that do not exist or lack the slide, `SlideError` if it cannot be opened."""
    from wsisr.errors import OptionError, check_choice
    from wsisr.slides import open_slide
    from wsisr.tissue import ORIGINS
    from wsisr.tissue.annotation_frames import AnnotationOrigin

    check_choice("--from", side, SIDES)
    check_choice("--origin", origin, ORIGINS)
    if slide is None:
        if origin == "bounds":
            raise OptionError("the result does not record them; give the slide with --slide", option="--origin bounds")
        return AnnotationOrigin(origin)
    with open_slide(slide, estimate=True) as opened:
        return AnnotationOrigin(origin, opened.info.bounds)


def _check_target(target: Path, file: Path) -> None:
    from wsisr.errors import OutputError

    if _find_ending(target) is None:
        raise OutputError(f"{target}: its name must end in {' or '.join(GEOJSON_ENDINGS[::2])}")
    if target.resolve() == file.resolve():
        raise OutputError(f"{target}: is the file that is read; give another name with -o")


def _check_size(frame: ResultFrame, result: Path) -> None:
    """Raise `ConfigError` if a result has another size than it records: programs that cut keep its texts."""
    from wsisr.errors import ConfigError
    from wsisr.slides import open_slide

    with open_slide(result, estimate=True) as opened:
        size = opened.info.size
    if size != frame.size:
        raise ConfigError(
            f"{result}: has {size} px, and records {frame.size}: another program has cut or resized it, so its place "
            "is not known; give it as wsisr wrote it"
        )


def _list_doubts(metadata: Mapping[str, str]) -> list[str]:
    """Return a warning where marks count in other pixels than the slide's file stores."""
    remarks = metadata.get("source remarks", "").split("; ")
    advice = "marks that QuPath makes on the slide count in its stored pixels, and are not converted"
    return [f"{remark}; {advice}" for remark in remarks if "places count in" in remark]


def _find_ending(path: Path) -> str | None:
    return next((ending for ending in reversed(GEOJSON_ENDINGS) if path.name.lower().endswith(ending)), None)


def _check_hits(hits: int, count: int, file: Path, result: Path) -> None:
    """Raise `ConfigError` if a file marks nothing of a result."""
    from wsisr.errors import ConfigError

    if not count:
        raise ConfigError(f"{file}: holds no annotation; export them from QuPath as GeoJSON")
    if not hits:
        advice = "is it of this slide, and do its marks count from where --origin and --from say?"
        raise ConfigError(f"{file}: marks nothing of {result}: {advice}")
