"""Results on disk: a pyramid TIFF written box by box, whole or not at all."""

from wsisr.writing.codec import Codec
from wsisr.writing.notes import read_note
from wsisr.writing.pyramid import PyramidWriter, WorkFolder
from wsisr.writing.scratch import Identity
from wsisr.writing.spec import TiffSpec

__all__ = ["Codec", "Identity", "PyramidWriter", "TiffSpec", "WorkFolder", "read_note"]
