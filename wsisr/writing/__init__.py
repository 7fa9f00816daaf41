"""Results on disk: a pyramid written box by box, whole or not at all."""

from wsisr.writing.codec import Codec
from wsisr.writing.diary import Diary, Entry, Said
from wsisr.writing.notes import read_note
from wsisr.writing.pyramid import PyramidWriter, WorkFolder
from wsisr.writing.scratch import Identity
from wsisr.writing.spec import PyramidSpec

__all__ = ["Codec", "Diary", "Entry", "Identity", "PyramidSpec", "PyramidWriter", "Said", "WorkFolder", "read_note"]
