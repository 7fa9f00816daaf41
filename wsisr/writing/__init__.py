"""Results on disk: a pyramid written box by box, whole or not at all."""

from wsisr.writing.encoding.codec import Codec
from wsisr.writing.metadata import read_note
from wsisr.writing.pyramid import PyramidWriter, WorkFolder
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.folder import Identity
from wsisr.writing.workdir.run_log import Diary, Entry, Said

__all__ = ["Codec", "Diary", "Entry", "Identity", "PyramidSpec", "PyramidWriter", "Said", "WorkFolder", "read_note"]
