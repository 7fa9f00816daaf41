"""The request: every option of an upscaling with its default, declared once for the command line and for Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TypeAlias

from wsisr.errors import OptionError, OutputError, OutputNameError, check_choice
from wsisr.models.spec import DEVICE_KINDS, PRECISIONS
from wsisr.remote.path import is_url, make_path
from wsisr.tissue import ORIGINS
from wsisr.upscaling.memory import DEFAULT_MEMORY_GB
from wsisr.upscaling.selection import PixelSelection, check_mpp_option
from wsisr.upscaling.trust.summary import TrustFiles
from wsisr.writing import Codec
from wsisr.writing.encoding.codec import SUBSAMPLINGS
from wsisr.writing.layouts.catalog import DEFAULT_LAYOUT, LAYOUTS, check_name_of_layout, resolve_layout_name

AnyPath: TypeAlias = Path | str


@dataclass(frozen=True, slots=True)
class UpscaleRequest:
    """What to do with one slide. The options are those of `wsisr upscale`, under the same names.

    Raises `OptionError` for options that no slide and no machine can fulfil, `OutputError` for an output whose suffix
    stands for no layout, or whose layout has no place for the images to keep.
    """

    slide: AnyPath
    _: KW_ONLY
    scale: int | None = None
    """Output pixels per input pixel along one axis: 2 or 4. Give this or `target_mpp`."""
    target_mpp: float | None = None
    """Pixel size of the output in um/px, instead of a scale; a network is used only where it takes one."""
    output: AnyPath | None = None
    """Pyramid to write; `SLIDE.xSCALE.ome.tif` beside the slide by default."""
    series: int | None = None
    """Number of the image, where a file holds several."""
    level: int | None = None
    """Level to enlarge; 0, the finest, by default."""
    source_mpp: float | None = None
    """Pixel size to enlarge from, in um/px: a finer level is shrunk to it."""
    region: Sequence[int] | None = None
    """X, y, width and height in px of level 0; the scanned area by default."""
    region_mm: Sequence[float] | None = None
    """X, y, width and height in millimetres."""
    whole_canvas: bool = False
    """All of level 0, even where nothing was scanned."""
    mpp: float | None = None
    """Pixel size of level 0 in um/px, where the slide does not record it, or records a wrong one."""
    model: AnyPath | None = None
    """Shipped model, weights file, `bicubic` or `lanczos`; the shipped model that fits by default."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:NUMBER`; for ONNX files also `tensorrt`."""
    precision: str = "auto"
    """`auto`, `bf16`, `fp16` or `fp32`."""
    perception: float = 0.0
    """0 for least error, up to 1 for crisp, by the model's GAN variant."""
    consistency: bool = False
    """Correct the result until its area mean is the input, noise and compression included."""
    guard: bool = True
    """Show bicubic where the network contradicts what the slide shows."""
    tile_px: int | None = None
    """Input px that a tile completes, along one axis; what memory allows by default."""
    overlap_px: int | None = None
    """Input px by which tiles overlap; what leaves no seam by default."""
    batch: int = 1
    """Tiles that go through the network together."""
    memory: float = DEFAULT_MEMORY_GB
    """GB that all but the network may hold; tiles get smaller to fit."""
    layout: str | None = None
    """`ome-tiff`, `aperio`, `ome-zarr`, `dicom` or `png`; what the output's suffix stands for by default."""
    codec: str | None = None
    """`jpeg` by default, or lossless: `deflate` or `lzw`, in DICOM `jpeg2000`. OME-Zarr and PNG are lossless."""
    quality: int = 90
    """JPEG quality of the output, 1 to 100."""
    icc: str = "keep"
    """`keep` stores the slide's colours and profile as they are; `srgb` converts them first."""
    deidentify: bool = False
    """Do not write the day of the scan into the output, nor from DICOM to DICOM patient, study and specimen."""
    keep_label: bool = False
    """Copy the slide's label image: it may name a patient."""
    keep_macro: bool = False
    """Copy the slide's macro image: it may show the label."""
    allow_derived: bool = False
    """Enlarge a slide that wsisr wrote: the result is an estimate of an estimate."""
    subsampling: str = "444"
    """JPEG colours: `444` is one for each pixel, `420` one for four."""
    accept_limited_viewers: bool = False
    """Allow what some viewers cannot open or misread."""
    tissue: AnyPath = "auto"
    """What the network is for: `auto` finds tissue, `none` takes all; or a mask or GeoJSON file."""
    tissue_origin: str = "auto"
    """What a mask or GeoJSON file counts from: the `canvas`, the scanned `bounds`, or `auto`, what hits the scan."""
    background: str = "keep"
    """Where there is no tissue: `keep` what was scanned, or `white`."""
    save_mask: AnyPath | None = None
    """PNG to write: the tissue of the whole slide in white, as `tissue` takes it again."""
    trust: bool = False
    """Also write how far each place may be off: `NAME.trust.ome.tif`, and doubtful areas as GeoJSON."""
    on_error: str = "stop"
    """Where a slide cannot be decoded: `stop`, or `white`, which the report and the file list."""
    overwrite: bool = False
    """Replace an output that exists."""
    verify: bool = True
    """Read the finished file again before it gets its name."""
    work_dir: AnyPath | None = None
    """Folder for the work in progress; the output's own by default."""
    keep_work: bool = False
    """Leave the work in progress when all is done."""
    dry_run: bool = False
    """Report what would happen, and do nothing."""

    def __post_init__(self) -> None:
        self._check_choices()
        _ = self.selection.scale_label
        check_mpp_option(self.mpp)
        if not 0 <= self.perception <= 1:
            raise OptionError("give a number from 0 to 1", option="--perception")
        if not 1 <= self.quality <= 100:
            raise OptionError("give a number from 1 to 100", option="--quality")
        if self.deidentify and self.kept_images:
            raise OptionError("--deidentify keeps neither label nor macro")
        self._check_layout()

    @property
    def slide_path(self) -> Path:
        return make_path(self.slide)

    @property
    def output_path(self) -> Path:
        """The given output, or the default one beside the slide. Raises `OutputError` for none beside a URL."""
        return (
            default_output_path(self.slide_path, self.output_ending) if self.output is None else make_path(self.output)
        )

    @property
    def output_ending(self) -> str:
        """The end of the output's name: `x2.ome.tif`, or for a file's third image `series2.x2.ome.tif`."""
        series = "" if self.series is None else f"series{self.series}."
        return f"{series}{self.selection.scale_label}{LAYOUTS[self.layout_name].default_suffix}"

    @property
    def mask_path(self) -> Path | None:
        return None if self.save_mask is None else Path(self.save_mask)

    @property
    def trust_files(self) -> TrustFiles | None:
        """Where the trust layer goes; None if none is asked for."""
        return (
            TrustFiles.from_output(self.output_path, LAYOUTS[self.layout_name].default_suffix) if self.trust else None
        )

    @property
    def work_path(self) -> Path | None:
        return None if self.work_dir is None else Path(self.work_dir)

    @property
    def selection(self) -> PixelSelection:
        return PixelSelection(
            self.scale, self.level, self.source_mpp, self.target_mpp, self.region, self.region_mm, self.whole_canvas
        )

    @property
    def kept_images(self) -> tuple[str, ...]:
        """Names of the slide's own images that are copied."""
        images = {"label": self.keep_label, "macro": self.keep_macro}
        return tuple(name for name, keep in images.items() if keep)

    @property
    def layout_name(self) -> str:
        """The layout that is given, else the output's; `ome-tiff` without either."""
        if self.output is None:
            return self.layout or DEFAULT_LAYOUT
        return resolve_layout_name(Path(self.output), self.layout)

    @property
    def output_codec(self) -> Codec:
        """The codec of the output's tiles. Raises `OptionError` if its layout has none of that name."""
        layout = LAYOUTS[self.layout_name]
        try:
            codec = layout.select_codec(self.codec, self.quality, self.subsampling)
            codec.check_viewers(accept_limited=self.accept_limited_viewers)
        except OutputError as error:
            raise OptionError(str(error), option="--codec") from None
        return codec

    def _check_choices(self) -> None:
        check_choice("--icc", self.icc, ("keep", "srgb"))
        check_choice("--background", self.background, ("keep", "white"))
        check_choice("--tissue-origin", self.tissue_origin, ORIGINS)
        check_choice("--on-error", self.on_error, ("stop", "white"))
        check_choice("--precision", self.precision, PRECISIONS)
        check_choice("--device", self.device.partition(":")[0], DEVICE_KINDS)
        check_choice("--subsampling", self.subsampling, tuple(SUBSAMPLINGS))
        if self.layout is not None:
            check_choice("--layout", self.layout, tuple(LAYOUTS))

    def _check_layout(self) -> None:
        _ = self.output_codec
        if self.layout is not None and self.output is not None:
            check_name_of_layout(Path(self.output), self.layout)
        if self.kept_images:
            try:
                LAYOUTS[self.layout_name].check_associated_images(accept_limited=self.accept_limited_viewers)
            except OutputError as error:
                raise OptionError(str(error)) from None


def default_output_path(slide: Path, ending: str) -> Path:
    """Return a path beside the slide: for `dir/a.svs` at x4 it is `dir/a.x4.ome.tif`.

    Raises `OutputError` for a URL.
    """
    if is_url(slide):
        raise OutputNameError(f"{slide}: results are written on this machine; name the result with -o")
    return _name_result(slide, ending)


def result_name(slide: Path, ending: str) -> str:
    """Return the name of a slide's result: for `dir/a.svs` at x4 it is `a.x4.ome.tif`."""
    return _name_result(slide, ending).name


def _name_result(slide: Path, ending: str) -> Path:
    is_folder = not is_url(slide) and slide.is_dir()  # a server is not asked for a name
    path = slide.resolve() if is_folder else slide
    stem = path.name if is_folder else slide.stem
    return path.with_name(f"{stem.removesuffix('.zarr').removesuffix('.ome').removesuffix('.dcm')}.{ending}")
