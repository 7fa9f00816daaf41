"""One run on many machines: workers of a Dask cluster compute and encode tiles, and this process alone writes files."""
