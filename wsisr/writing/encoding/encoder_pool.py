"""Processes that encode tiles, because threads that encode share one Python interpreter and wait for its lock.

Encoding a tile takes a fraction of a millisecond in C between steps in Python. With threads, a whole run spent 9 ms of
each Mpx in Python (sampled on two cores), and 16 cores beside a GPU gave 82 Mpx/s. With processes, a tenth of the
writer's work stays in the parent (`tests.bench encoder_pool`).

Each process shares memory with the parent: a buffer for pixels, one for halved tiles that it needs and one for encoded
tiles that it returns. A pipe carries only shapes and lengths. The processes end with the parent, however it ends.

`multiprocessing` with `forkserver` and `shared_memory` would replace this module, but was tried and left (Python 3.11,
two processes, medians of three rounds in turns). Writing is as fast: 0.14 s of the parent's CPU time for 51 Mpx, 0.13 s
here. The first start takes 1.7 s, here 0.9 s, because the fork server and the resource tracker are processes of their
own. And two things break. Each child imports the caller's main module, so a script without `if __name__ == "__main__"`
runs again in every child. And shared memory lies in /dev/shm, where Docker's default is 64 MB: a page beyond that ends
the process with "Bus error". Memory from memfd_create has no such limit.
"""

from __future__ import annotations

import itertools
import math
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from mmap import mmap
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np

from wsisr.errors import OutputError
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.cpu import count_usable_cores
from wsisr.parallel.processes import STOP_SIGNALS, block_signals
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.encoder import CoarserTile, FinerTile, LocalEncoder, TileEncoder, split_bytes

SQUARE_SIDE = 4
"""Side, in tiles, of the squares that are encoded at once: each completes tiles of two coarser levels."""

FEW_CORES = 4
"""Up to this number of cores, threads are as fast as processes (measured on two: `tests.bench encoder_pool`)."""

MAX_PROCESSES = 16

PROCESS_BYTES = 20_000_000
"""Memory of one process: its shared buffers, and what it does not share with the other processes."""


def choose_process_count(pixels: int) -> int:
    """Return how many processes to use for an output of `pixels`; 0 if threads are as fast or memfd is missing."""
    worthwhile = pixels >= 2**26 and count_usable_cores() > FEW_CORES and hasattr(os, "memfd_create")
    return min(MAX_PROCESSES, count_usable_cores()) if worthwhile else 0


def start_encoder_pool(codec: Codec, tile_px: int, count: int) -> EncoderPool | None:
    """Start `count` encoder processes; None if `count` is 0 or the system refuses, and threads encode instead."""
    try:
        return EncoderPool(codec, tile_px, count) if count else None
    except OSError:
        return None


class EncoderPool:
    """Encoder processes that run until `close`. Methods may be called from several threads.

    Raises `OSError` if the system refuses memory or processes.
    """

    def __init__(self, codec: Codec, tile_px: int, count: int) -> None:
        self._idle: queue.Queue[EncoderProcess] = queue.Queue()
        buffer_bytes = SharedBuffers.byte_count(tile_px)
        pipes = [Pipe() for _ in range(count)]
        child_ends = [child_end.fileno() for _, child_end in pipes]
        memory = os.memfd_create("wsisr")
        try:
            os.ftruncate(memory, count * buffer_bytes)
            shared = mmap(memory, count * buffer_bytes)
            arguments = [codec.method, codec.quality, codec.subsampling, tile_px, memory, *child_ends]
            command = [
                sys.executable,
                "-P",
                "-c",
                "from wsisr.writing.encoding.encoder_pool import run_encoders; run_encoders()",
                *map(str, arguments),
            ]
            with block_signals():
                self._root_process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[memory, *child_ends], env=_build_environment()
                )
        finally:
            os.close(memory)
        self._pipes = [parent_end for parent_end, _ in pipes]
        for number, (parent_end, child_end) in enumerate(pipes):
            child_end.close()  # so that reading from the parent's end fails once the process has ended
            self._idle.put(EncoderProcess(parent_end, SharedBuffers.slice_from(shared, number, tile_px)))

    @contextmanager
    def borrow_encoder(self) -> Iterator[TileEncoder]:
        """Lend an idle process; the tiles that it returns lie in its shared memory until its next call."""
        process = self._idle.get()
        try:
            yield process
        finally:
            self._idle.put(process)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._root_process.wait()


class SharedBuffers(NamedTuple):
    """The memory that one encoder process shares with the parent."""

    pixels: memoryview
    halves_in: memoryview
    """Halved tiles of the finer level, which the process encoded before."""
    encoded_out: memoryview
    """Encoded or halved tiles that the process returns."""

    @staticmethod
    def byte_count(tile_px: int) -> int:
        """Return the bytes of one process's buffers.

        Encoded tiles may take twice the bytes of their pixels, more than any codec needs, and halved ones a quarter;
        the system allocates pages only when they are written to.
        """
        return 5 * SQUARE_SIDE**2 * 3 * tile_px**2

    @classmethod
    def slice_from(cls, shared: mmap, number: int, tile_px: int) -> SharedBuffers:
        """Return the buffers of one process within the memory of all."""
        length = cls.byte_count(tile_px)
        own = memoryview(shared)[number * length : (number + 1) * length]
        return cls(own[: length // 5], own[length // 5 : 3 * length // 5], own[3 * length // 5 :])


EncodeRequest: TypeAlias = tuple[Literal["encode", "coarser", "halve"], list[Any], list[int]]
"""Which method of a `TileEncoder` to run; shapes of the tiles in `pixels`, or the fields of each `CoarserTile` with a
number for each halved tile, or indices; and lengths of the tiles in `halves_in`. Plain numbers, because pickling
objects takes many times as long."""


class EncoderProcess:
    """The parent's side of one encoder process: a `TileEncoder`. Raises `OutputError` if the process has ended."""

    def __init__(self, pipe: Connection, buffers: SharedBuffers) -> None:
        self._pipe, self._buffers = pipe, buffers

    def encode_tiles(self, tiles: Iterable[Rgb]) -> list[memoryview]:
        images = list(tiles)
        buffers = split_bytes(self._buffers.pixels, (image.size for image in images))
        for image, buffer in zip(images, buffers, strict=True):
            np.copyto(np.frombuffer(buffer, np.uint8).reshape(image.shape), image)
        return self._send_request(("encode", [image.shape for image in images], []))

    def encode_coarser(self, tiles: Iterable[CoarserTile]) -> list[memoryview]:
        halves: list[bytes] = []
        fields = [(width, height, [_number_halves(tile, halves) for tile in finer]) for width, height, finer in tiles]
        lengths = [len(data) for data in halves]
        for data, buffer in zip(halves, split_bytes(self._buffers.halves_in, lengths), strict=True):
            buffer[:] = data
        return self._send_request(("coarser", fields, lengths))

    def halve_tiles(self, indices: Sequence[int]) -> list[memoryview]:
        return self._send_request(("halve", list(indices), []))

    def _send_request(self, request: EncodeRequest) -> list[memoryview]:
        """Run a request in the process and return the tiles, which lie in shared memory."""
        try:
            self._pipe.send(request)
            answer = self._pipe.recv()
            if isinstance(answer, Exception):
                raise answer
        except (EOFError, OSError, MemoryError) as error:
            advice = "repeat the command, which goes on from the finished tiles"
            raise OutputError(f"a process that encodes tiles was ended (out of memory?); {advice}") from error
        return list(split_bytes(self._buffers.encoded_out, answer))


def _number_halves(finer: FinerTile, halves: list[bytes]) -> tuple[int, ...]:
    """Return the fields of a finer tile with a number in place of its bytes, which are appended to `halves`.

    Numbers from 0 on are those of the tiles that the process encoded last; -1 and below count the tiles in `halves`.
    """
    *geometry, data = finer
    if isinstance(data, bytes):
        halves.append(data)
        data = -len(halves)
    return (*geometry, data)


def run_encoders() -> None:
    """Main function of the root process, which loads what all need and then forks one process for each pipe."""
    method, quality, subsampling, *numbers = sys.argv[1:]
    tile_px, memory, *pipes = map(int, numbers)
    for stop_signal in STOP_SIGNALS:
        signal.signal(stop_signal, signal.SIG_IGN)  # the parent acts on it, and these processes end with the parent
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    cv2.setNumThreads(1)
    encoder = LocalEncoder(Codec(method, int(quality), subsampling), tile_px)
    shared = mmap(memory, len(pipes) * SharedBuffers.byte_count(tile_px))
    for number, pipe in enumerate(pipes):
        if os.fork() == 0:
            for other in pipes:
                if other != pipe:
                    os.close(other)
            _serve_requests(encoder, Connection(pipe), SharedBuffers.slice_from(shared, number, tile_px))
            os._exit(0)
    for pipe in pipes:
        os.close(pipe)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _serve_requests(encoder: LocalEncoder, pipe: Connection, buffers: SharedBuffers) -> None:
    """Execute requests from the parent until it closes the pipe or ends."""
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_execute_request(encoder, pipe.recv(), buffers))


def _execute_request(encoder: LocalEncoder, request: EncodeRequest, buffers: SharedBuffers) -> list[int] | Exception:
    """Put encoded tiles one after the other into `encoded_out` and return their lengths, or the error raised."""
    method, fields, lengths = request
    try:
        if method == "encode":
            encoded = encoder.encode_tiles(_view_tiles(fields, buffers))
        elif method == "coarser":
            encoded = encoder.encode_coarser(_parse_coarser(fields, lengths, buffers))
        else:
            encoded = encoder.halve_tiles(fields)
        for data, buffer in zip(encoded, split_bytes(buffers.encoded_out, map(len, encoded)), strict=True):
            buffer[:] = data
    except Exception as error:  # noqa: BLE001 - handed over whole, and raised in the parent
        return error
    return [len(data) for data in encoded]


def _view_tiles(shapes: Iterable[tuple[int, ...]], buffers: SharedBuffers) -> Iterator[Rgb]:
    for shape, buffer in zip(shapes, split_bytes(buffers.pixels, map(math.prod, shapes)), strict=True):
        yield np.frombuffer(buffer, np.uint8).reshape(shape)


def _parse_coarser(fields: Iterable[Any], lengths: Iterable[int], buffers: SharedBuffers) -> Iterator[CoarserTile]:
    halves = [bytes(data) for data in split_bytes(buffers.halves_in, lengths)]
    for width, height, finer in fields:
        numbered = itertools.starmap(FinerTile, finer)
        yield CoarserTile(width, height, [_look_up_halves(tile, halves) for tile in numbered])


def _look_up_halves(finer: FinerTile, halves: Sequence[bytes]) -> FinerTile:
    """Replace a number that `_number_halves` gave to sent bytes with these bytes."""
    number = finer.halved
    return finer._replace(halved=halves[-number - 1]) if isinstance(number, int) and number < 0 else finer


def _build_environment() -> dict[str, str]:
    """Return this process's environment with its import path, and without library threads, which a fork would lose."""
    path = os.pathsep.join(filter(None, sys.path))
    return os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
