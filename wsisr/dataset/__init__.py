"""Pairs of low and high resolution: built from slides, stored as plain pixels, read back without any slide library."""
