"""A reader for each family of files: OpenSlide, TIFF and OME-Zarr."""
