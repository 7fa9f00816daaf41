"""TensorBoard log of a run; TensorBoard is an optional extra."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import ConfigError
from wsisr.training.loop import StepReport

LOSS_EVERY_STEPS = 20
"""Steps between two logged values of a loss."""


class TensorBoardLog:
    """Writes event files to the folder `board` of a run; steps repeated by a resumed run appear twice."""

    def __init__(self, folder: Path) -> None:
        """Raises `ConfigError` if TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ConfigError("TensorBoard is missing; pip install 'wsisr[board]', or leave out --board") from error
        self._writer = SummaryWriter(folder / "board")

    def add_report(self, report: StepReport) -> None:
        if report.step % LOSS_EVERY_STEPS == 0 or report.validation:
            for name, value in report.terms.items():
                self._writer.add_scalar(f"loss/{name}", value, report.step)
        if report.validation:
            self._writer.add_scalar("validation/gain_db", report.validation.gain_db, report.step)
            for name, found in (
                ("accuracy", report.validation.accuracy),
                ("texture", report.validation.texture_distance),
            ):
                if found is not None:
                    self._writer.add_scalar(f"validation/{name}", found, report.step)

    def close(self) -> None:
        self._writer.close()
