"""Pairs of low and high resolution: built from slides, stored as plain arrays, read back without any slide library."""
