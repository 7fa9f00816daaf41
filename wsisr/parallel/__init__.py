"""Threads, worker processes, usable cores, and the time that each stage of a run takes."""
