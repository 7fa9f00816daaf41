"""A run's numbers for TensorBoard, an extra."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import ConfigError
from wsisr.training.loop import StepReport

EVERY = 20
"""Steps between two points of a loss."""


class Board:
    """Writes event files into a folder `board` of a run; where a run goes on, what comes again stands twice."""

    def __init__(self, folder: Path) -> None:
        """Raises `ConfigError` where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ConfigError("TensorBoard is missing; pip install 'wsisr[board]', or leave --board out") from error
        self._writer = SummaryWriter(folder / "board")

    def add(self, report: StepReport) -> None:
        if report.step % EVERY == 0 or report.found:
            for name, value in report.terms.items():
                self._writer.add_scalar(f"loss/{name}", value, report.step)
        if report.found:
            self._writer.add_scalar("validation/gain_db", report.found.gain, report.step)
            for name, found in (("accuracy", report.found.accuracy), ("texture", report.found.texture)):
                if found is not None:
                    self._writer.add_scalar(f"validation/{name}", found, report.step)

    def close(self) -> None:
        self._writer.close()
