"""Writes results to disk: a pyramid, box by box, that appears under its name complete or not at all."""

from wsisr.writing.encoding.codec import Codec
from wsisr.writing.metadata import read_metadata
from wsisr.writing.pyramid import PyramidWriter, WorkFolder
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.run_log import LogEntry, MessageLog, RunLog
from wsisr.writing.workdir.run_record import RunIdentity, RunSource

__all__ = [
    "Codec",
    "LogEntry",
    "MessageLog",
    "PyramidSpec",
    "PyramidWriter",
    "RunIdentity",
    "RunLog",
    "RunSource",
    "WorkFolder",
    "read_metadata",
]
