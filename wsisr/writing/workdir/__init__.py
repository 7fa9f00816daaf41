"""The work folder of an unfinished output: finished tiles, their journal, the log, the lock."""
