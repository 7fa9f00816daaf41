"""`wsisr evaluate`: tables on stdout, JSON in a file, mistakes in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tests.samples import noise_levels, write_generic_pyramid
from wsisr.cli.evaluate import evaluate
from wsisr.errors import OutputError, SlideError
from wsisr.geometry import Size
