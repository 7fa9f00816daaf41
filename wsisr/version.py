"""The version of wsisr, in a module of its own, so that no module has to import the package's public API."""

__version__ = "0.1.0"
