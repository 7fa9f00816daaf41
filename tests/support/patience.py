"""How long a test waits for a process or a server."""

PATIENCE_S = 300
"""Seconds that only what hangs takes. Shorter limits have failed on a machine that had other work to do."""
