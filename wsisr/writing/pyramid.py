"""Writes a pyramid from level-0 pixels that arrive box by box, in any order; memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np

from wsisr.errors import OutputError, OutputNameError, WsisrError
from wsisr.files import count_file_bytes, publish_output, remove_path, translate_disk_errors
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import ThreadTeam
from wsisr.progress import Progress
from wsisr.remote.path import RemotePath, is_url
from wsisr.writing.encoding.block import EncodedBlock
from wsisr.writing.encoding.downsampling import PyramidLevels
from wsisr.writing.encoding.encoder import LocalEncoder, TileEncoder
from wsisr.writing.encoding.encoder_pool import SQUARE_SIDE, EncoderPool, choose_process_count, start_encoder_pool
from wsisr.writing.encoding.grid import build_level_grids
from wsisr.writing.layouts.catalog import select_layout
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.byte_store import ByteStore
from wsisr.writing.workdir.folder import PartFolder, check_left_work, list_work_folders, list_work_parents
from wsisr.writing.workdir.run_log import RunLog
from wsisr.writing.workdir.run_record import RunIdentity, RunSource
from wsisr.writing.workdir.tile_journal import TileJournal
from wsisr.writing.workdir.tile_store import TileStore

OutputCheck: TypeAlias = Callable[[Path, PyramidSpec], str | None]
"""Maps a finished file and the specification it was written from to a description of its faults; None if it is good."""


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """Where finished tiles are kept until the file is assembled from them, and which run may resume from them.

    Raises `OutputError` if `parent` is not a folder.
    """

    identity: RunIdentity | None = None
    """Identity of the run that may resume from the folder after it was stopped; None if no run may."""
    parent: Path | None = None
    """Folder in which the work folder is created; the output's own folder by default."""
    keep: bool = False
    """Keep the work folder after the file is finished, so that the file can be assembled again from it."""
    source: RunSource | None = None
    """State of what the run reads: it must be the same for a run that resumes, or be proved to hold the same."""

    def __post_init__(self) -> None:
        if self.parent is not None and not self.parent.is_dir():
            raise OutputNameError(f"{self.parent}: no folder for work in progress; create it first")

    def can_resume(self, output: Path) -> bool:
        """Return whether a stopped run left work from which this one would go on; nothing is claimed or changed.

        Raises `OutputError` if that is the work of another run, and what hashes the source.
        """
        with translate_disk_errors(self.parent or output):
            folders = list_work_folders(output, self.parent)
            return bool(folders) and check_left_work(folders[-1], self.identity, self.source)

    def remove_leftovers(self, output: Path) -> None:
        """Remove work of this run that was left because it was killed after its result had been published.

        A folder that holds only a lock goes, too; work of any other run stays, and so does what is in use or not ours.
        """
        for parent in list_work_parents(output, self.parent):
            if PartFolder.exists(output, parent):
                with suppress(OutputError), translate_disk_errors(self.parent or output):
                    folder = PartFolder(output, parent)
                    folder.release(keep=self.keep or not folder.is_leftover_of(self.identity))


class PyramidWriter:
    """Context manager that writes one pyramid.

    All data is kept in a work folder until the file is complete. Leaving the context before `finish` has ended removes
    it; with a `RunIdentity`, finished tiles stay, and a writer with the same identity resumes from them.
    Memory: the pixels given to `write`, plus about eight tiles per thread, or 20 MB for each encoder process (used
    instead of threads on machines with many cores and for large images), plus 34 bytes for each tile of the pyramid.
    """

    def __init__(
        self,
        output: Path,
        spec: PyramidSpec,
        work_folder: WorkFolder | None = None,
        *,
        overwrite: bool = False,
        encoder_processes: int | None = None,
    ) -> None:
        self.output = output
        self.spec = spec
        self.work_folder = work_folder or WorkFolder()
        self.overwrite = overwrite
        self._owns_tile_folder = False
        self._encoder_pool: EncoderPool | None = None
        if encoder_processes is None:
            encoder_processes = choose_process_count(spec.size.pixel_count)
        self._process_count = encoder_processes
        self._threads = ThreadTeam(16, "wsisr-encode")
        self._layout = select_layout(output, spec.layout)
        self._layout.check_spec(spec)
        self._stores: tuple[TileStore, ...] = ()
        self._halved: tuple[ByteStore, ...] = ()
        self._published_bytes: int | None = None
        self._run_log: RunLog | None = None

    def __enter__(self) -> Self:
        """Claim the output, and load the tiles that an earlier, stopped run of the same identity has finished.

        Raises `OutputError` if the output exists, cannot be written or is being written by another run, or if the work
        folder holds the work of a different run; and what hashes the source.
        """
        self._layout.check_output(self.output, overwrite=self.overwrite)
        with translate_disk_errors(self._error_path):
            image_parent = self.work_folder.parent if is_url(self.output) else None
            self._tile_folder = self._output_folder = PartFolder(self.output, image_parent)
            try:
                self._tile_folder = self._claim_tile_folder(self._output_folder)
                self._tile_folder.resume_or_clear(
                    self.work_folder.identity, self.work_folder.source, restart=self.overwrite
                )
                self._owns_tile_folder = True
                self._levels = self._open_levels()
                self._encoder_pool = start_encoder_pool(self.spec.codec, self.spec.tile_px, self._process_count)
            except (OSError, WsisrError):
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def _error_path(self) -> Path:
        """Path that disk errors name: the parent given for the work folder, or else the output."""
        return self.work_folder.parent or self.output

    @property
    def bytes_written(self) -> int:
        """Encoded bytes so far; the size of the result after `finish`."""
        return self._published_bytes or sum(level.nbytes for level in self._stores)

    @property
    def run_log(self) -> RunLog:
        """Log of this run, including the entries of the earlier run that it resumes. Only valid within the context."""
        assert self._run_log is not None
        return self._run_log

    def has_tiles(self, box: Box) -> bool:
        """Return whether an earlier run finished all tiles of a box in level-0 px."""
        base = self._stores[0]
        return all(base.from_earlier_run[tile] for tile in base.grid.find_tiles(box))

    def write(self, box: Box, pixels: Rgb) -> None:
        """Encode and store (h, w, 3) sRGB of a box in level-0 px, which must consist of whole tiles, each written once.

        Also makes the tiles of coarser levels that these complete. Tiles that an earlier run finished are not changed.
        Safe from several threads. Raises `OutputError` for disk errors, `ValueError` if box or pixels break the rules.
        """
        base = self._stores[0]
        if pixels.shape != (box.height, box.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 ({box.height}, {box.width}, 3)")
        if not base.grid.has_whole_tiles(box):
            raise ValueError(f"{box} is not made of whole tiles of {base.grid.tile_px} px in {base.grid.size}")
        missing = (tile for tile in base.grid.find_tiles(box) if not base.from_earlier_run[tile])
        with translate_disk_errors(self._error_path):
            squares = base.grid.group_by_square(missing, SQUARE_SIDE)
            self._threads.for_each(lambda tiles: self._store_square(tiles, box, pixels), squares)

    def write_block(self, block: EncodedBlock) -> None:
        """Store a block that was encoded elsewhere by `encode_block`, on the grids and with the codec of this file.

        Tiles that an earlier run finished are not changed. Safe from several threads. Raises `OutputError` for disk
        errors.
        """
        stored = self._stores[0].from_earlier_run
        with translate_disk_errors(self._error_path), self._borrow_encoder() as encoder:
            self._levels.store_block(encoder, [tile for tile in block.tiles[0] if not stored[tile]], block)

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add entries to the file's metadata; to be called before `finish`."""
        self.spec = replace(self.spec, metadata={**self.spec.metadata, **metadata})

    def record_source_digest(self, sha256: str | None) -> None:
        """Record what the run reads by its SHA-256, so that a later run may resume where only its state differs.

        Safe from any thread. Raises `OutputError` for disk errors.
        """
        with translate_disk_errors(self._error_path):
            self._tile_folder.record_source_digest(sha256)

    def finish(self, check: OutputCheck | None = None) -> Iterator[Progress]:
        """Complete the coarser levels, assemble the file, check it, and move it to its name when the iterator ends.

        Yields progress of the stages `pyramid` and `assemble`, in tiles, and for a URL `upload`, in files. Raises
        `OutputError` for disk errors, for faults that `check` describes, and if the output's name has been taken
        meanwhile; `ValueError` if level 0 is incomplete.
        """
        if self._stores[0].missing_count:
            raise ValueError(f"{self._stores[0].missing_count} tiles of level 0 were never written")
        with translate_disk_errors(self.output):
            yield from self._complete_levels()
            yield from self._assemble_file()
            self._raise_fault(check(self._output_folder.image_path, self.spec) if check else None)
            size = count_file_bytes(self._output_folder.image_path)
            yield from self._publish_file()
            self._published_bytes = size

    def _complete_levels(self) -> Iterator[Progress]:
        total = sum(store.grid.tile_count for store in self._stores[1:])
        for done in self._levels.complete_levels(self._threads, self._borrow_encoder):
            yield Progress("pyramid", done, total)

    def _store_square(self, tiles: Sequence[int], box: Box, pixels: Rgb) -> None:
        boxes = (self._stores[0].grid.tile_box(tile).relative_to(box) for tile in tiles)
        with self._borrow_encoder() as encoder:
            self._levels.store_tiles(encoder, tiles, [pixels[tile_box.rows, tile_box.columns] for tile_box in boxes])

    def _borrow_encoder(self) -> AbstractContextManager[TileEncoder]:
        if self._encoder_pool:
            return self._encoder_pool.borrow_encoder()
        return nullcontext(LocalEncoder(self.spec.codec, self.spec.tile_px))

    def _assemble_file(self) -> Iterator[Progress]:
        total = sum(level.grid.tile_count for level in self._stores)
        remove_path(self._output_folder.image_path)  # of an earlier run that was killed while it assembled
        for done in self._layout.write_file(self._output_folder.image_path, self._stores, self.spec):
            yield Progress("assemble", done, total)

    def _publish_file(self) -> Iterator[Progress]:
        image = self._output_folder.image_path
        if isinstance(self.output, RemotePath):
            from wsisr.remote.upload import upload_folder  # noqa: PLC0415 - only outputs by URL need it

            yield from upload_folder(image, self.output, self._layout.marker, overwrite=self.overwrite)
        else:
            publish_output(image, self.output, overwrite=self.overwrite)

    def _raise_fault(self, fault: str | None) -> None:
        if fault is not None:
            raise OutputError(
                f"{self.output}: does not read back as expected ({fault}) and was not published; repeat the command, "
                "which checks all finished tiles again, or skip this check with --no-verify"
            )

    def _open_levels(self) -> PyramidLevels:
        folder = self._tile_folder
        self._run_log = RunLog(folder.run_log_path, self.output)
        grids = build_level_grids(self.spec.size, self.spec.tile_px)
        for number, grid in enumerate(grids):
            journal = self._open_journal(folder.journal_path(number))
            self._stores += (TileStore(folder.tiles_path(number), grid, self.spec.codec, journal),)
        for number, grid in enumerate(grids[:-1]):
            journal = self._open_journal(folder.halves_journal_path(number))
            self._halved += (ByteStore(folder.halves_path(number), grid.tile_count, journal),)
        return PyramidLevels(self._stores, self._halved)

    def _open_journal(self, path: Path) -> TileJournal | None:
        assert self._run_log is not None
        return TileJournal(path, self._run_log) if self.work_folder.identity is not None else None

    def _claim_tile_folder(self, output_folder: PartFolder) -> PartFolder:
        """Claim the folder for tiles. The image is always assembled beside the output: a rename then publishes it."""
        parent = self.work_folder.parent
        if parent is None or is_url(self.output) or parent.samefile(self.output.parent):
            return output_folder
        return PartFolder(self.output, parent)

    def _close(self) -> None:
        self._threads.close()
        if self._encoder_pool:
            self._encoder_pool.close()
        kept = {folder: self._should_keep(folder) for folder in (self._tile_folder, self._output_folder)}
        for store in (*self._stores, *self._halved):
            with suppress(OSError, OutputError):  # what did not reach the disk is done again by the run that resumes
                store.close(sync=kept[self._tile_folder])
        if self._run_log:
            self._run_log.close()
        for folder, keep in kept.items():
            folder.release(keep=keep)

    def _should_keep(self, folder: PartFolder) -> bool:
        """Return whether a folder holds work that a later run may resume from."""
        if folder is not self._tile_folder or not self._owns_tile_folder:
            return folder.has_work
        has_tiles = any(level.missing_count < level.grid.tile_count for level in self._stores)
        is_unfinished = self._published_bytes is None
        return self.work_folder.identity is not None and has_tiles and (is_unfinished or self.work_folder.keep)
