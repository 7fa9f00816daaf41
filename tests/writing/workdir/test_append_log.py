"""Laws of the append-only log, for both kinds of records: tiles of a journal and entries of a run log."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.disks import limit_file_size
from wsisr.writing.workdir.append_log import AppendLog, Fields, LogFollower
from wsisr.writing.workdir.run_log import LogEntry, RunLog
from wsisr.writing.workdir.tile_journal import TileJournal, TileRecord

Record = tuple[Fields, bytes]
Opener = Callable[[Path], AppendLog]

u32, u64, i64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1)


def open_fixed(path: Path) -> AppendLog:
    return AppendLog(path, struct.Struct("<QI"))


def open_with_content(path: Path) -> AppendLog:
    return AppendLog(path, struct.Struct("<qI"), has_content=True)


fixed_records: st.SearchStrategy[list[Record]] = st.lists(st.tuples(st.tuples(u64, u32), st.just(b"")), max_size=6)
content_records: st.SearchStrategy[list[Record]] = st.lists(
    st.tuples(i64, st.binary(max_size=30)).map(lambda pair: ((pair[0], len(pair[1])), pair[1])), max_size=6
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "log"


def write(open_log: Opener, path: Path, records: list[Record]) -> bytes:
    path.unlink(missing_ok=True)
    append(open_log, path, records)
    return path.read_bytes()


def append(open_log: Opener, path: Path, records: list[Record]) -> None:
    log = open_log(path)
    for _ in log.recover():
        pass
    log.append(records)
    log.close()


def recover(open_log: Opener, path: Path) -> list[Record]:
    log = open_log(path)
    has_content = open_log is open_with_content
    records = [(fields, log.read(offset, fields[-1]) if has_content else b"") for fields, offset in log.recover()]
    log.close()
    return records


def draw_log(data: st.DataObject) -> tuple[Opener, list[Record]]:
    open_log: Opener = data.draw(st.sampled_from([open_fixed, open_with_content]))
    records: list[Record] = data.draw(fixed_records if open_log is open_fixed else content_records)
    return open_log, records


@given(st.data())
def test_records_come_back_and_more_can_be_appended(path: Path, data: st.DataObject) -> None:
    open_log, records = draw_log(data)
    half = len(records) // 2
    write(open_log, path, records[:half])
    append(open_log, path, records[half:])
    assert recover(open_log, path) == records


@given(st.data())
def test_a_torn_tail_costs_only_the_records_it_tore_and_is_overwritten(path: Path, data: st.DataObject) -> None:
    open_log, records = draw_log(data)
    written = write(open_log, path, records)
    end = data.draw(st.integers(0, len(written)))
    path.write_bytes(written[:end])
    ends = accumulate(len(write(open_log, path.with_name("one"), [record])) for record in records)
    whole = records[: sum(record_end <= end for record_end in ends)]
    assert recover(open_log, path) == whole
    append(open_log, path, records)
    assert recover(open_log, path) == whole + records


@given(st.data())
def test_a_damaged_byte_never_comes_back_as_a_record(path: Path, data: st.DataObject) -> None:
    """Records of a fixed size before and after it are kept; in a log with content, those before it."""
    open_log, records = draw_log(data)
    written = bytearray(write(open_log, path, records))
    if not written:
        return
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(written)
    ends = list(accumulate(len(write(open_log, path.with_name("one"), [record])) for record in records))
    damaged = sum(end <= place for end in ends)
    after = records[damaged + 1 :] if open_log is open_fixed else []
    assert recover(open_log, path) == records[:damaged] + after
    append(open_log, path, [records[damaged]])
    assert recover(open_log, path) == records[:damaged] + after + [records[damaged]]


@given(fixed_records, st.data())
def test_who_looks_on_sees_each_record_once_as_soon_as_it_is_whole(
    path: Path, records: list[Record], data: st.DataObject
) -> None:
    """Whatever was on the disk at each look; and looking changes nothing."""
    written = write(open_fixed, path, records)
    path.write_bytes(b"")
    follower = LogFollower(path, struct.Struct("<QI"))
    seen: list[Fields] = []
    for end in sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=4))):
        path.write_bytes(written[:end])
        seen += follower.read_new()
        assert seen == [fields for fields, _ in records[: end * len(records) // max(1, len(written))]]
        assert path.read_bytes() == written[:end]
    assert follower.is_current(path)
    path.unlink()
    assert not follower.is_current(path)
    follower.close()


@pytest.mark.parametrize("open_log", [open_fixed, open_with_content])
def test_what_a_full_disk_took_whole_is_kept_and_the_rest_overwritten(tmp_path: Path, open_log: Opener) -> None:
    path, record = tmp_path / "log", ((5, 0), b"")
    log = open_log(path)
    assert list(log.recover()) == []
    with limit_file_size(40), pytest.raises(OSError, match="too large"):
        log.append([record] * 3)
    log.append([((6, 0), b"")])
    log.close()
    assert recover(open_log, path) == [record, record, ((6, 0), b"")]


def test_a_tile_journal_of_version_1_is_read(tmp_path: Path) -> None:
    written = (
        "07000000000000000000000002000000d2040000efbeadde00000000000000000000000023daba5c"
        "000000000000000000000000000000000100000002000000000000000000000000000000f0ac7188"
    )
    path, records = tmp_path / "level-0.journal", [TileRecord(7, 2**33, 1234, 0xDEADBEEF), TileRecord(0, 0, 1, 2)]
    path.write_bytes(bytes.fromhex(written))
    log = RunLog(tmp_path / "diary", Path("out.tif"))
    assert list(TileJournal(path, log).recover()) == records
    journal = TileJournal(tmp_path / "new.journal", log)
    journal.append(records)
    assert (tmp_path / "new.journal").read_bytes().hex() == written


def test_a_tile_journal_of_version_0_counts_as_nothing_done(tmp_path: Path) -> None:
    written = "07000000000000000000000002000000d2040000efbeaddeb9898bf5" * 10
    (tmp_path / "level-0.journal").write_bytes(bytes.fromhex(written))
    log = RunLog(tmp_path / "diary", Path("out.tif"))
    assert list(TileJournal(tmp_path / "level-0.journal", log).recover()) == []


entry_texts = st.lists(st.binary(max_size=20), min_size=1, max_size=5)


@settings(max_examples=30)
@given(entry_texts, entry_texts, st.data())
def test_tiles_count_as_done_only_while_all_that_was_logged_before_them_is_there(
    path: Path, before: list[bytes], after_loss: list[bytes], data: st.DataObject
) -> None:
    """Even if a later run has logged something else in the place of what was lost."""
    log_path, journal_path = path.with_name("tied-log"), path.with_name("tied-journal")
    for file in (log_path, journal_path):
        file.unlink(missing_ok=True)
    log = RunLog(log_path, path)
    journal, ends = TileJournal(journal_path, log), []
    for number, content in enumerate(before):
        log.append("kind", content)
        ends.append(log.position.offset)
        journal.append([TileRecord(number, 0, 1, 0)])
    journal.close()
    log.close()
    written = bytearray(log_path.read_bytes())
    place = data.draw(st.integers(0, len(written) - 1))
    if data.draw(st.booleans()):
        written[place] ^= data.draw(st.integers(1, 255))
    else:
        del written[place:]
    log_path.write_bytes(written)
    left = list(range(sum(end <= place for end in ends)))
    for later in (None, *after_loss):
        log = RunLog(log_path, path)
        assert [record.tile for record in TileJournal(journal_path, log).recover()] == left
        if later is not None and later not in before:
            log.append("kind", later)
        log.close()


def test_a_run_log_of_version_0_is_read(tmp_path: Path) -> None:
    written = (
        "72656d61726b00000000000000000000090000002fc5947b6665686c743a20c2b5"
        "6d65617375726573fbffffffffffffff03000000369b2f42000102"
        "686f6c650000000000000000000000000000000079d7d091"
    )
    path, contents = tmp_path / "diary", ["fehlt: µ".encode(), b"\0\1\2", b""]
    path.write_bytes(bytes.fromhex(written))
    log = RunLog(path, Path("out.tif"))
    assert log.earlier_entries == (
        LogEntry("remark", 0, 24, 9),
        LogEntry("measures", -5, 57, 3),
        LogEntry("hole", 0, 84, 0),
    )
    assert [log.read_content(entry) for entry in log.earlier_entries] == contents
    new = RunLog(tmp_path / "new", Path("out.tif"))
    for entry, content in zip(log.earlier_entries, contents, strict=True):
        new.append(entry.kind, content, entry.number)
    assert (tmp_path / "new").read_bytes().hex() == written
