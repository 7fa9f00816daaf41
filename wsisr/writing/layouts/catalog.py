"""The file layouts of a pyramid, selected by name or by the suffix of the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.bounds import MAX_FIELD_PX
from wsisr.errors import OutputError, OutputNameError
from wsisr.files import check_output
from wsisr.imaging.geometry import Size
from wsisr.writing.encoding.codec import COMPRESSION_METHODS, TIFF_METHODS, Codec
from wsisr.writing.layouts import aperio, dicom_note, ome_tiff, ome_zarr, png
from wsisr.writing.layouts.pyramid_tiff import PyramidTiff
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

DEFAULT_LAYOUT = "ome-tiff"


@dataclass(frozen=True, slots=True)
class Layout:
    """A file layout: its suffixes, the codecs it can hold, and the function that writes it."""

    default_suffix: str
    """Suffix of outputs that wsisr names itself."""
    suffixes: tuple[str, ...]
    """Suffixes of output names that select this layout."""
    codecs: Mapping[str, str]
    """Codec names that users give, to the `COMPRESSION_METHODS` they mean in this layout; the first is the default."""
    write_file: Callable[[Path, Sequence[TileStore], PyramidSpec], Iterator[int]]
    """Writes the output by copying encoded tiles; yields how many were copied. Memory: a few tiles."""
    marker: str = ""
    """File that marks a folder as an output of this layout; empty if the output is a file."""
    own_files: tuple[str, ...] = ("*",)
    """Patterns of the names in such a folder; one that holds any other is not replaced."""
    requires_mpp: bool = False
    """Whether the layout cannot be written without a pixel size."""
    has_associated_images: bool = True
    """Whether the layout can hold label and macro images."""
    max_pixels: int | None = None
    """Most pixels that an image of this layout may have; None if any size can be written and read in tiles."""
    misled_readers: str = ""
    """Common readers that take label and macro images for levels."""

    def select_codec(self, name: str | None = None, quality: int = 90, subsampling: str = "444") -> Codec:
        """Return a codec of this layout, by default its first. Raises `OutputError` if the layout has no such codec."""
        name = next(iter(self.codecs)) if name is None else name
        if name not in self.codecs:
            raise OutputError(f"{self.default_suffix} is not written with codec {name}; choose {self._codec_choices}")
        return Codec(self.codecs[name], quality, subsampling)

    @property
    def _codec_choices(self) -> str:
        """The codec names as text; those that some common reader cannot decode come last."""
        limited = [name for name, method in self.codecs.items() if COMPRESSION_METHODS[method].unsupported_readers]
        names = ", ".join(name for name in self.codecs if name not in limited)
        return f"{names}, or with --accept-limited-viewers {', '.join(limited)}" if limited else names

    def check_associated_images(self, *, accept_limited: bool) -> None:
        """Raise `OutputError` if the layout cannot hold label and macro images, or they mislead a common reader."""
        if not self.has_associated_images:
            raise OutputError(
                f"{self.default_suffix} has no place for label and macro images; write .svs, or do not keep them"
            )
        if self.misled_readers and not accept_limited:
            raise OutputError(
                f"{self.misled_readers} takes label and macro images in {self.default_suffix} for levels; "
                "write .svs, or add --accept-limited-viewers"
            )

    def check_spec(self, spec: PyramidSpec) -> None:
        """Raise `OutputError` if the layout cannot hold tiles of this codec, or needs a pixel size that is missing."""
        if spec.codec.method not in self.codecs.values():
            choice = ", ".join(self.codecs)
            raise OutputError(
                f"{self.default_suffix} cannot hold tiles encoded by {spec.codec.method}; choose {choice}"
            )
        if self.requires_mpp and spec.mpp is None:
            raise OutputError(f"{self.default_suffix} cannot be written without a pixel size; give it in um/px (--mpp)")
        self.check_size(spec.size)

    def check_size(self, size: Size) -> None:
        """Raise `OutputError` for an image that is too large for the layout."""
        if self.max_pixels is not None and size.pixel_count > self.max_pixels:
            raise OutputError(
                f"{self.default_suffix} is for at most {self.max_pixels / 1e6:g} Mpx, and the result has {size} px; "
                f"write {LAYOUTS[DEFAULT_LAYOUT].default_suffix}"
            )

    def check_output(self, output: Path, *, overwrite: bool) -> None:
        """Raise `OutputError` if an output of this layout could not be given its name; see `wsisr.files`."""
        check_output(output, overwrite=overwrite, marker=self.marker, own_files=self.own_files)

    def is_output(self, path: Path) -> bool:
        """Return whether a path is, or by its name will be, a folder that is one output of this layout."""
        return bool(self.marker) and (path.suffix.lower() in self.suffixes or (path / self.marker).is_file())


def _write_dicom(folder: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    from wsisr.writing.layouts.dicom import write_dicom  # noqa: PLC0415 - pydicom takes 0.2 s to import

    return write_dicom(folder, levels, spec)


_OME_TIFF = PyramidTiff(ome_tiff.write_ome_tiff, ome_tiff.build_ome_description)
_APERIO = PyramidTiff(aperio.write_aperio, aperio.build_aperio_description)

LAYOUTS = {
    DEFAULT_LAYOUT: Layout(".ome.tif", (".tif", ".tiff"), TIFF_METHODS, _OME_TIFF.write_file, misled_readers="cuCIM"),
    "aperio": Layout(".svs", (".svs",), TIFF_METHODS, _APERIO.write_file),
    "ome-zarr": Layout(
        ".ome.zarr",
        (".zarr",),
        {"zstd": ome_zarr.CHUNK_METHOD},
        ome_zarr.write_ome_zarr,
        marker=ome_zarr.METADATA_FILE,
        has_associated_images=False,
    ),
    "dicom": Layout(
        ".dcm",
        (".dcm",),
        {"jpeg": "jpeg", "jpeg2000": "jpeg2000-rgb"},
        _write_dicom,
        marker=dicom_note.FIRST_LEVEL_FILE,
        own_files=dicom_note.OWN_FILES,
        requires_mpp=True,
    ),
    "png": Layout(
        ".png", (".png",), {"deflate": "deflate"}, png.write_png, has_associated_images=False, max_pixels=MAX_FIELD_PX
    ),
}


def select_layout(output: Path, name: str | None = None) -> Layout:
    """Return the layout of that name, or of the output's suffix. Raises `OutputError` if there is none."""
    return LAYOUTS[resolve_layout_name(output, name)]


def resolve_layout_name(output: Path, name: str | None = None) -> str:
    """Return that name, or the name of the layout of the output's suffix. Raises `OutputError` if there is none."""
    check_layout_name(name)
    if name is not None:
        return name
    for layout_name, layout in LAYOUTS.items():
        if output.suffix.lower() in layout.suffixes:
            return layout_name
    suffixes = " or ".join(suffix for layout in LAYOUTS.values() for suffix in layout.suffixes)
    is_jpeg = output.suffix.lower() in (".jpg", ".jpeg")
    why = "JPEG, which would lose detail again, is not written; " if is_jpeg else ""
    raise OutputNameError(
        f"{output}: {why}its name must end in {suffixes}, which selects the layout; or give --layout, or an existing "
        "folder"
    )


def check_name_of_layout(output: Path, name: str) -> None:
    """Raise `OutputNameError` if a name ends in the suffix of another kind of file than the layout writes."""
    for other in LAYOUTS.values():
        if output.suffix.lower() in other.suffixes and other.codecs is not LAYOUTS[name].codecs:
            suffix = LAYOUTS[name].default_suffix
            raise OutputNameError(
                f"{output}: its suffix stands for another layout than --layout {name}; end the name in {suffix}, or "
                "leave --layout out"
            )


def check_layout_name(name: str | None) -> None:
    """Raise `OutputError` if no layout has this name."""
    if name is not None and name not in LAYOUTS:
        raise OutputError(f"there is no layout {name}; choose {' or '.join(LAYOUTS)}")
