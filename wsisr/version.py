"""The version of wsisr: one place, so that nothing has to import the package's face."""

__version__ = "0.1.0"
