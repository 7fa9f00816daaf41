"""Hands: processes that code tiles. For threads take turns in Python, and beyond a few cores mostly wait for it.

Coding a tile is a fraction of a millisecond's work in C between steps in Python. By threads, a whole run was in Python
for 9 ms of each Mpx (sampled on two cores), and 16 cores beside a GPU gave 82 Mpx/s. So this process keeps a tenth of
the writer's work (`tests.bench encoder_pool`).

A hand shares memory with this process: a part for pixels, one for codes that go there, one for codes that come back.
What lies where goes through a pipe. The hands end with this process, however it ends.
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
from wsisr.parallel.cpu import cores
from wsisr.parallel.processes import SIGNALS, signals_held
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.encoder import Coarser, Coder, Finer, Local, parts

SIDE = 4
"""Of the squares of tiles that a hand is given at once: two coarser levels are complete with each."""

FEW_CORES = 4
"""With no more, threads do as well (measured on two: `tests.bench encoder_pool`)."""

MOST = 16

HAND_BYTES = 20_000_000
"""That each takes: its share of the memory below, and what it holds besides what all have in common."""


def hands_for(pixels: int) -> int:
    """How many a result of that size is worth; none where threads do as well, or the system has no such memory."""
    worth = pixels >= 2**26 and cores() > FEW_CORES and hasattr(os, "memfd_create")
    return min(MOST, cores()) if worth else 0


def hired(codec: Codec, tile_px: int, count: int) -> Hands | None:
    """So many hands; None for none, or where the system refuses processes or memory for them: threads do the same."""
    try:
        return Hands(codec, tile_px, count) if count else None
    except OSError:
        return None


class Hands:
    """So many hands, until closed. Methods may be called from several threads. Raises `OSError` where refused."""

    def __init__(self, codec: Codec, tile_px: int, count: int) -> None:
        self._idle: queue.Queue[Hand] = queue.Queue()
        room = _Desk.room(tile_px)
        pipes = [Pipe() for _ in range(count)]
        theirs = [pipe.fileno() for _, pipe in pipes]
        memory = os.memfd_create("wsisr")
        try:
            os.ftruncate(memory, count * room)
            shared = mmap(memory, count * room)
            words = [codec.method, codec.quality, codec.subsampling, tile_px, memory, *theirs]
            command = [
                sys.executable,
                "-P",
                "-c",
                "from wsisr.writing.encoding.encoder_pool import main; main()",
                *map(str, words),
            ]
            with signals_held():
                self._first = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[memory, *theirs], env=_environment()
                )
        finally:
            os.close(memory)
        self._pipes = [mine for mine, _ in pipes]
        for number, (mine, pipe) in enumerate(pipes):
            pipe.close()  # so that mine ends with the hand
            self._idle.put(Hand(mine, _Desk.of(shared, number, tile_px)))

    @contextmanager
    def one(self) -> Iterator[Coder]:
        """One that has nothing to do; codes that it gives lie in its memory."""
        hand = self._idle.get()
        try:
            yield hand
        finally:
            self._idle.put(hand)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._first.wait()


class _Desk(NamedTuple):
    """The memory that a hand and this process share."""

    pixels: memoryview
    given: memoryview
    """Codes that it needs."""
    made: memoryview
    """Codes that it gives."""

    @staticmethod
    def room(tile_px: int) -> int:
        """Bytes. Codes may take twice the room of their pixels, more than any codec needs; memory is taken only when it
        is written to."""
        return 5 * SIDE**2 * 3 * tile_px**2

    @classmethod
    def of(cls, shared: mmap, number: int, tile_px: int) -> _Desk:
        """That of one hand."""
        room = cls.room(tile_px)
        own = memoryview(shared)[number * room : (number + 1) * room]
        return cls(own[: room // 5], own[room // 5 : 3 * room // 5], own[3 * room // 5 :])


Request: TypeAlias = tuple[Literal["encode", "coarser"], list[Any], list[int]]
"""Which method of a `Coder`; shapes of tiles that lie among the pixels, or what `Coarser` holds, codes by number; and
lengths of the codes that lie among the given. Plain numbers, for objects take many times as long on their way."""


class Hand:
    """One hand, as this process sees it: a `Coder`. Raises `OutputError` where it was ended."""

    def __init__(self, pipe: Connection, desk: _Desk) -> None:
        self._pipe, self._desk = pipe, desk

    def encode(self, tiles: Iterable[Rgb]) -> list[memoryview]:
        found = list(tiles)
        for tile, place in zip(found, parts(self._desk.pixels, (tile.size for tile in found)), strict=True):
            np.copyto(np.frombuffer(place, np.uint8).reshape(tile.shape), tile)
        return self._answer(("encode", [tile.shape for tile in found], []))

    def coarser(self, tiles: Iterable[Coarser]) -> list[memoryview]:
        codes: list[bytes] = []
        wanted = [(width, height, [_told(each, codes) for each in finer]) for width, height, finer in tiles]
        lengths = [len(code) for code in codes]
        for code, place in zip(codes, parts(self._desk.given, lengths), strict=True):
            place[:] = code
        return self._answer(("coarser", wanted, lengths))

    def _answer(self, request: Request) -> list[memoryview]:
        try:
            self._pipe.send(request)
            said = self._pipe.recv()
            if isinstance(said, Exception):
                raise said
        except (EOFError, OSError, MemoryError) as error:
            what_now = "the same command goes on from what is finished"
            raise OutputError(f"a process that encodes tiles was ended (out of memory?); {what_now}") from error
        return list(parts(self._desk.made, said))


def _told(finer: Finer, codes: list[bytes]) -> tuple[int, ...]:
    """With a number for its code: what the hand made last it knows by one from 0 on, what it is given by one below."""
    *place, code = finer
    if isinstance(code, bytes):
        codes.append(code)
        code = -len(codes)
    return (*place, code)


def main() -> None:
    """The first of them, which has what all need and then becomes as many as there are pipes."""
    method, quality, subsampling, *numbers = sys.argv[1:]
    tile_px, memory, *pipes = map(int, numbers)
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # for the process to act upon that the hands end with
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    cv2.setNumThreads(1)
    coder = Local(Codec(method, int(quality), subsampling), tile_px)
    shared = mmap(memory, len(pipes) * _Desk.room(tile_px))
    for number, pipe in enumerate(pipes):
        if os.fork() == 0:
            for other in pipes:
                if other != pipe:
                    os.close(other)
            _serve(coder, Connection(pipe), _Desk.of(shared, number, tile_px))
            os._exit(0)
    for pipe in pipes:
        os.close(pipe)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _serve(coder: Local, pipe: Connection, desk: _Desk) -> None:
    """The life of a hand."""
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_done(coder, pipe.recv(), desk))


def _done(coder: Local, request: Request, desk: _Desk) -> list[int] | Exception:
    """Lengths of the codes, which lie one after the other where they were to be put."""
    method, wanted, lengths = request
    try:
        if method == "encode":
            codes = coder.encode(_tiles(wanted, desk))
        else:
            codes = coder.coarser(_coarser(wanted, lengths, desk))
        for code, place in zip(codes, parts(desk.made, map(len, codes)), strict=True):
            place[:] = code
    except Exception as error:  # noqa: BLE001 - handed over whole and raised where it is waited for
        return error
    return [len(code) for code in codes]


def _tiles(shapes: Iterable[tuple[int, ...]], desk: _Desk) -> Iterator[Rgb]:
    for shape, place in zip(shapes, parts(desk.pixels, map(math.prod, shapes)), strict=True):
        yield np.frombuffer(place, np.uint8).reshape(shape)


def _coarser(wanted: Iterable[Any], lengths: Iterable[int], desk: _Desk) -> Iterator[Coarser]:
    codes = [bytes(code) for code in parts(desk.given, lengths)]
    for width, height, finer in wanted:
        numbered = itertools.starmap(Finer, finer)
        yield Coarser(width, height, [_given(each, codes) for each in numbered])


def _given(finer: Finer, codes: Sequence[bytes]) -> Finer:
    """What `_told` told of."""
    number = finer.code
    return finer._replace(code=codes[-number - 1]) if isinstance(number, int) and number < 0 else finer


def _environment() -> dict[str, str]:
    """That of this process; what it can import, and no threads that would not outlive a fork."""
    path = os.pathsep.join(filter(None, sys.path))
    return os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
