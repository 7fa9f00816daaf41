"""Seeded damage to small files: bytes flipped, cut and moved, numbers of headers and values of JSON replaced."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Literal, TypeAlias

Mutation: TypeAlias = Callable[[bytes, Random], bytes]
"""Content of a file to damaged content; the same for the same state of the random numbers."""

HEAD_BYTES = 2048
"""Bytes from the start in which most formats keep what they say of the rest."""

_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
_TEXTS = (
    *("", "0", "1", "-1", "1e308", "-1e308", "1e-308", "nan", "inf", "1e999", "9" * 400, "4294967296", "99999999"),
    *("../../x", "\\x", ".x", "/etc/passwd", "a\0b", "a\nb", "\u202e\x1b[2J", "x" * 5000, "true", "None", "[]", "µ"),
)

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Sizes of TIFF's types."""


def flip_bytes(data: bytes, random: Random) -> bytes:
    """Replace one to eight bytes, more often near the start."""
    damaged = bytearray(data)
    for _ in range(random.randint(1, 8)):
        damaged[_choose_place(len(data), random)] = random.randrange(256)
    return bytes(damaged)


def cut_bytes(data: bytes, random: Random) -> bytes:
    """Cut a file short, or a piece out of it, or repeat a piece."""
    start, stop = sorted((_choose_place(len(data), random), random.randrange(len(data) + 1)))
    return random.choice((data[:start], data[:start] + data[stop:], data[:stop] + data[start:]))


def replace_words(data: bytes, random: Random) -> bytes:
    """Overwrite a number of 1 to 8 bytes, in either byte order, by one that programs stumble over."""
    size = random.choice((1, 2, 4, 8))
    at = min(_choose_place(len(data), random), max(0, len(data) - size))
    number: int = random.choice(_NUMBERS) % 2 ** (8 * size)
    return data[:at] + number.to_bytes(size, random.choice(("little", "big"))) + data[at + size :]


def replace_czi_number(data: bytes, random: Random) -> bytes:
    """Overwrite a number of 4 bytes in the head of a segment of a CZI, or in its directory."""
    segments = [match.start() for match in re.finditer(b"ZISRAW", data)]
    at = min(random.choice(segments) + random.randrange(16, 420), len(data) - 4)
    number: int = random.choice(_NUMBERS) % 2**32
    return data[:at] + number.to_bytes(4, "little") + data[at + 4 :]


def replace_numbers_in_text(data: bytes, random: Random) -> bytes:
    """Replace one run of digits, or one quoted word, by another text."""
    places = list(re.finditer(rb"\d+(?:\.\d+)?|\"[^\"]{0,80}\"", data))
    if not places:
        return flip_bytes(data, random)
    place = random.choice(places)
    text = random.choice(_TEXTS).encode("utf-8", "replace")
    quote = b'"' if place[0].startswith(b'"') else b""
    return data[: place.start()] + quote + text + quote + data[place.end() :]


def replace_json_value(data: bytes, random: Random) -> bytes:
    """Replace, remove or repeat one value anywhere in a document, or in one line of JSON lines."""
    lines = data.decode().splitlines()
    try:
        documents = [json.loads(data)]
    except ValueError:
        documents = [json.loads(line) for line in lines]
    number = random.randrange(len(documents))
    documents[number] = _replace_node(documents[number], random)
    return b"".join(_encode_json(document) + b"\n" for document in documents)


def replace_tiff_field(data: bytes, random: Random) -> bytes:
    """Replace type, count or value of one entry of a TIFF's directories, or a number that it points to."""
    entries = list(_find_tiff_entries(data))
    if not entries:
        return flip_bytes(data, random)
    at, form, is_big = random.choice(entries)
    size = 8 if is_big else 4
    kind = int(struct.unpack_from(f"{form}H", data, at + 2)[0])
    count = int(struct.unpack_from(f"{form}{'Q' if is_big else 'I'}", data, at + 4)[0])
    value_at = at + 4 + size
    if count * _TYPE_BYTES.get(kind, 1) > size:
        value_at = int(struct.unpack_from(f"{form}{'Q' if is_big else 'I'}", data, value_at)[0])
    order: Literal["little", "big"] = "little" if form == "<" else "big"
    step = _TYPE_BYTES.get(kind, 1)
    places = {
        "type": (at + 2, 2),
        "count": (at + 4, size),
        "offset": (at + 4 + size, size),
        "value": (value_at + step * random.randrange(max(1, min(count, 64))), min(step, 8)),
    }
    place, length = places[random.choice(("type", "count", "offset", "value", "value", "value"))]
    if place + length > len(data):
        return flip_bytes(data, random)
    old = int.from_bytes(data[place : place + length], order)
    number: int = random.choice((*_NUMBERS, old + 1, old - 1, old * 2, old // 2, random.randrange(1, 20)))
    stored = (number % int(2 ** (8 * length))).to_bytes(length, order)
    return data[:place] + stored + data[place + length :]


def _find_tiff_entries(data: bytes) -> Iterator[tuple[int, str, bool]]:
    """Yield the place of each entry of a TIFF's chain of directories, its byte order, and whether it is BigTIFF."""
    form, is_big = ("<" if data[:2] == b"II" else ">"), data[2:4] in (b"+\0", b"\0+")
    offset_form = f"{form}{'Q' if is_big else 'I'}"
    at, seen = struct.unpack_from(offset_form, data, 8 if is_big else 4)[0], set[int]()
    head, entry = (8, 20) if is_big else (2, 12)
    while at and at not in seen and at + head < len(data):
        seen.add(at)
        claimed = struct.unpack_from(f"{form}{'Q' if is_big else 'H'}", data, at)[0]
        count = min(claimed, (len(data) - at - head) // entry)  # earlier damage may claim 2**64
        yield from ((at + head + number * entry, form, is_big) for number in range(count))
        end = at + head + count * entry
        at = struct.unpack_from(offset_form, data, end)[0] if end + head <= len(data) else 0


def _choose_place(size: int, random: Random) -> int:
    """Choose a byte, two times out of three near the start."""
    return random.randrange(max(1, min(size, HEAD_BYTES) if random.random() < 2 / 3 else size))


def _encode_json(document: Any) -> bytes:
    return json.dumps(document).encode().replace(b'"@deep@"', b"[" * 20_000 + b"]" * 20_000)


def _replace_node(document: Any, random: Random) -> Any:
    """Return a copy of a document in which one value is another one."""
    children = list(document.items()) if isinstance(document, dict) else list(enumerate(document or []))
    if not isinstance(document, dict | list) or not children or random.random() < 0.1:
        return _choose_value(document, random)
    key, child = random.choice(children)
    copy = document.copy()
    if random.random() < 0.1:
        copy.pop(key)
    elif random.random() < 0.05 and isinstance(copy, list):
        copy.extend([child] * random.choice((1, 2, 5000)))
    else:
        copy[key] = _replace_node(child, random)
    return copy


def _choose_value(value: Any, random: Random) -> Any:
    others: tuple[Any, ...] = (
        *(None, True, False, [], {}, [[]], {"a": 1}, "@deep@", -1, 0.5, 10**400, float("nan"), float("inf"), [value]),
        *(random.choice(_NUMBERS), random.choice(_TEXTS), str(value)),
    )
    if type(value) in (int, float) and random.random() < 0.5:
        return random.choice((value + 1, value - 1, value * 2, -value, value * 10**9, value * 10**18))
    return random.choice(others)
