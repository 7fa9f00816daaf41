"""Specifications as bytes, which the cluster keeps without understanding them."""

from __future__ import annotations

import pickle
import zlib
from typing import Self


class PackableSpec:
    """Base of a dataclass that travels to workers as bytes."""

    __slots__ = ()

    def pack(self) -> bytes:
        """Return the specification as bytes for `unpack`."""
        return zlib.compress(pickle.dumps(self))

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the specification. Only for bytes from the scheduler, which may run any code here anyway."""
        spec = pickle.loads(zlib.decompress(packed))
        assert isinstance(spec, cls)
        return spec
