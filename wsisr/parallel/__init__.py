"""Threads, processes and how many of them: work that runs side by side."""
