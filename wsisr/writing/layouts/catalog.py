"""The layouts of a pyramid on disk, chosen by name or by the suffix of the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.writing.encoding.codec import METHODS, TIFF_METHODS, Codec
from wsisr.writing.layouts import aperio, ome_tiff, ome_zarr
from wsisr.writing.layouts.pyramid_tiff import PyramidTiff
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

DEFAULT = "ome-tiff"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a pyramid lies on disk."""

    suffix: str
    """Of an output that got no name."""
    suffixes: tuple[str, ...]
    """Of an output that is to have this layout."""
    codecs: Mapping[str, str]
    """Codecs as a person names them to the method that each is here; the first by default."""
    assemble: Callable[[Path, Sequence[TileStore], PyramidSpec], Iterator[int]]
    """Writes it by copying encoded tiles; yields how many. One tile in memory at a time."""
    marker: str = ""
    """The file by which an output that is a folder is known; none where it is a file."""
    holds_pictures: bool = True
    """Whether label and macro have a place."""
    misled: str = ""
    """Readers that take label and macro for levels."""

    def coding(self, name: str | None = None, quality: int = 90, subsampling: str = "444") -> Codec:
        """A codec of this layout, its usual one by default. Raises `OutputError` where it has none like that."""
        name = next(iter(self.codecs)) if name is None else name
        if name not in self.codecs:
            raise OutputError(f"{self.suffix} is not written with codec {name}; choose {self._offered}")
        return Codec(self.codecs[name], quality, subsampling)

    @property
    def _offered(self) -> str:
        """Codecs, those last that some readers do not open."""
        blind = {name for name, method in self.codecs.items() if METHODS[method].blind}
        names = ", ".join(name for name in self.codecs if name not in blind)
        limited = ", ".join(name for name in self.codecs if name in blind)
        return f"{names}, or with --accept-limited-viewers {limited}" if limited else names

    def check_pictures(self, *, accept_limited: bool) -> None:
        """Raise `OutputError` where label and macro have no place, or a common reader goes wrong with them."""
        if not self.holds_pictures:
            raise OutputError(f"{self.suffix} has no place for label and macro images; write .svs, or do not keep them")
        if self.misled and not accept_limited:
            raise OutputError(
                f"{self.misled} takes label and macro images in {self.suffix} for levels; write .svs, or add "
                "--accept-limited-viewers"
            )

    def check(self, codec: Codec) -> None:
        """Raise `OutputError` where it cannot hold what is coded so."""
        if codec.method not in self.codecs.values():
            raise OutputError(
                f"{self.suffix} cannot hold tiles coded by {codec.method}; choose {', '.join(self.codecs)}"
            )


_HYBRID = PyramidTiff(ome_tiff.fill, ome_tiff.words)
_APERIO = PyramidTiff(aperio.fill, aperio.words)

LAYOUTS = {
    DEFAULT: Layout(".ome.tif", (".tif", ".tiff"), TIFF_METHODS, _HYBRID.assemble, misled="cuCIM"),
    "aperio": Layout(".svs", (".svs",), TIFF_METHODS, _APERIO.assemble),
    "ome-zarr": Layout(
        ".ome.zarr",
        (".zarr",),
        {"zstd": ome_zarr.METHOD},
        ome_zarr.assemble,
        marker=ome_zarr.METADATA,
        holds_pictures=False,
    ),
}


def layout_of(output: Path, name: str | None = None) -> Layout:
    """The layout of that name, or the one that the output's suffix stands for. Raises `OutputError` without one."""
    return LAYOUTS[layout_name(output, name)]


def layout_name(output: Path, name: str | None = None) -> str:
    """That name, or the one that the output's suffix stands for. Raises `OutputError` where there is no such layout."""
    check_layout(name)
    if name is not None:
        return name
    for own, layout in LAYOUTS.items():
        if output.suffix.lower() in layout.suffixes:
            return own
    known = " or ".join(suffix for layout in LAYOUTS.values() for suffix in layout.suffixes)
    raise OutputError(
        f"{output}: its name must end in {known}, for that says what is written; or give --layout, "
        "or the name of a folder that is there"
    )


def check_layout(name: str | None) -> None:
    """Raise `OutputError` for a name that no layout has."""
    if name is not None and name not in LAYOUTS:
        raise OutputError(f"there is no layout {name}; choose {' or '.join(LAYOUTS)}")
