"""File layouts of a finished pyramid: OME-TIFF, Aperio-like SVS, OME-Zarr."""
