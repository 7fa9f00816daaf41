"""`wsisr info`: the metadata of slides, as a table for people or as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wsisr.cli.options import JsonLinesOption, SeriesOption, flag, slide_argument
from wsisr.cli.slide_words import SLIDES_HELP
from wsisr.errors import OptionError

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.imaging.geometry import Box
    from wsisr.slides import SlideInfo
    from wsisr.slides.series import ImageSeries

SlideFacts = dict[str, Any]


def info_command(
    slides: Annotated[
        list[Path],
        slide_argument(SLIDES_HELP, metavar="SLIDE"),
    ],
    series: SeriesOption = None,
    as_json: JsonLinesOption = False,
    methods: Annotated[
        bool, flag("--methods", "Print only how a result of wsisr was made, as a paragraph for a paper.")
    ] = False,
) -> None:
    """Show the metadata of slides: size, pixel size, levels."""
    from wsisr.cli.batch import check_each_file
    from wsisr.cli.console import print_json, print_line, stdout_console
    from wsisr.cli.slide_words import list_given_slides
    from wsisr.slides import open_slide
    from wsisr.upscaling.methods import read_methods

    if methods and as_json:
        raise OptionError("gives text, and --json other keys; give only one of them", option="--methods")
    entries = {entry.path: entry for entry in list_given_slides(slides, results=True).entries}

    def print_info(slide: Path) -> bool:
        if methods:
            print_line(read_methods(slide))
            return True
        with open_slide(slide, entries[slide].mpp, estimate=True, series=series) as opened:
            facts = slide_facts(opened.info)
        if as_json:
            print_json(facts)
        else:
            stdout_console.print(_build_table(facts, slide.resolve().name))
        return True

    check_each_file(list(entries), print_info)


def slide_facts(info: SlideInfo) -> SlideFacts:
    """Return what `--json` prints. Keys are stable, lengths are in px, pixel sizes in um/px, null is unknown."""
    from wsisr.upscaling.provenance import read_derived_metadata

    return {
        "path": str(info.path),
        "vendor": info.vendor,
        "reader": info.reader,
        "width": info.size.width,
        "height": info.size.height,
        "mpp": info.mpp,
        "pitch": info.mpp_origin,
        "remarks": list(info.warnings),
        "series": info.series_number,
        "scenes": [_series_facts(scene) for scene in info.all_series],
        "bounds": None if info.bounds is None else _box_facts(info.bounds),
        "objective": info.objective,
        "levels": [_level_facts(info, number) for number in range(len(info.levels))],
        "icc": None if info.icc is None else {"bytes": len(info.icc), "description": _profile_name(info.icc)},
        "associated": {name: {"width": size.width, "height": size.height} for name, size in info.associated.items()},
        "derived": read_derived_metadata(info.path),
    }


def _level_facts(info: SlideInfo, number: int) -> SlideFacts:
    level = info.levels[number]
    facts = {"width": level.size.width, "height": level.size.height, "downsample": level.downsample}
    return facts | {"mpp": info.level_mpp(number)}


def _series_facts(scene: ImageSeries) -> SlideFacts:
    size = {} if scene.size is None else {"width": scene.size.width, "height": scene.size.height}
    return {"name": scene.name, "width": None, "height": None} | size | {"refusal": scene.refusal or None}


def _box_facts(box: Box) -> SlideFacts:
    return {"x": box.left, "y": box.top, "width": box.width, "height": box.height}


def _profile_name(icc: bytes) -> str | None:
    """Return the name of a colour profile; None if it is damaged."""
    from io import BytesIO

    from PIL import ImageCms

    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(icc))).strip()
    except (ImageCms.PyCMSError, OSError):
        return None


def _build_table(facts: SlideFacts, title: str) -> Table:
    from rich.table import Table

    from wsisr.cli.console import literal_text

    table = Table(title=literal_text(title), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _table_rows(facts):
        table.add_row(name, literal_text(value))
    return table


def _table_rows(facts: SlideFacts) -> Iterator[tuple[str, str]]:
    yield "vendor", f"{facts['vendor']}, read through {facts['reader']}"
    yield "size", f"{facts['width']} x {facts['height']} px"
    yield "pixel size", _format_pixel_size(facts["mpp"]) + ("" if facts["mpp"] is None else f", {facts['pitch']}")
    yield from (("warning", remark) for remark in facts["remarks"])
    if facts["bounds"]:
        yield "scanned", "{width} x {height} px at {x}, {y}".format(**facts["bounds"])
    for number, scene in enumerate(facts["scenes"]):
        yield f"series {number}", _format_series(scene) + (", shown here" if number == facts["series"] else "")
    yield "objective", "not recorded" if facts["objective"] is None else f"{facts['objective']:g}x"
    for number, level in enumerate(facts["levels"]):
        size = f"{level['width']} x {level['height']} px"
        yield f"level {number}", f"{size}, 1/{level['downsample']:.6g}, {_format_pixel_size(level['mpp'])}"
    yield "colour profile", _format_profile(facts["icc"])
    yield "associated", _format_associated(facts["associated"])
    for name, value in facts["derived"].items():
        yield "derived" if name == "derived" else f"derived: {name}", value


def _format_series(scene: SlideFacts) -> str:
    size = "of unknown size" if scene["width"] is None else f"{scene['width']} x {scene['height']} px"
    refusal = f": {scene['refusal']}" if scene["refusal"] else ""
    return f"{scene['name']} {size}".strip() + refusal


def _format_pixel_size(mpp: float | None) -> str:
    return "not recorded" if mpp is None else f"{mpp:.6g} um/px"


def _format_profile(icc: SlideFacts | None) -> str:
    return "none" if icc is None else f"{icc['description'] or 'damaged'}, {icc['bytes']} bytes"


def _format_associated(images: SlideFacts) -> str:
    return ", ".join(f"{name} {size['width']} x {size['height']} px" for name, size in images.items()) or "none"
