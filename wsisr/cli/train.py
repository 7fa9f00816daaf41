"""`wsisr train`: trains a network on a dataset; after a stop, the same command resumes."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.exit_codes import EXIT_INTERRUPTED
from wsisr.cli.options import QuietOption, TrainDeviceOption, flag
from wsisr.cli.shutdown import catch_stop_signals
from wsisr.cli.streams import allow_lost_output
from wsisr.progress import format_count

if TYPE_CHECKING:
    from wsisr.parallel.processes import StopFlag
    from wsisr.progress import Progress
    from wsisr.training.loop import StepReport, TrainingRun
    from wsisr.training.tensorboard import TensorBoardLog

LOSS_SMOOTHING = 0.98
"""Weight of earlier steps in the loss that is shown; the loss of a single batch varies a lot."""


def train_command(
    config: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="Recipe: a TOML file with the tables network, data, schedule.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Run to write: checkpoint, weights, metrics.")
    ],
    device: TrainDeviceOption = "auto",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. By default one for each core.", min=1)
    ] = None,
    board: Annotated[
        bool, flag("--board", "Write a log for TensorBoard, too, in the folder `board` of the run.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a network, or resume a run that was stopped."""
    from wsisr.cli.console import print_line, print_message
    from wsisr.cli.progress import print_first_line, show_preparation
    from wsisr.config import read_toml

    allow_lost_output()
    is_first_process = os.environ.get("RANK", "0") == "0"  # as torchrun numbers them; the rest says nothing
    print_first_line(f"{config}: the run is to be {output}", config, quiet=quiet or not is_first_process)
    read_toml(config)  # a recipe that cannot be read is said before PyTorch is loaded
    with show_preparation("loads PyTorch", quiet=quiet or not is_first_process):
        import torch

        from wsisr.cli.resources import warn_of_unused_gpu
        from wsisr.models.backends.device import select_device
        from wsisr.training.stages import read_recipe
    if threads is not None:
        torch.set_num_threads(threads)
    with catch_stop_signals() as stop:
        if is_first_process:
            warn_of_unused_gpu(device)
        for run in read_recipe(config).open_runs(output, select_device(device)):
            show_run(run, stop, board=board and run.is_main_process, quiet=quiet or not run.is_main_process)
            if not run.is_finished:
                print_message(f"stopped at step {run.step} of {run.steps}; the same command goes on from there")
                raise typer.Exit(EXIT_INTERRUPTED)
    if run.is_main_process and not quiet:
        print_line(f"{run.result_path}: {describe_best_score(run)}")


def show_run(run: TrainingRun, stop: StopFlag, *, board: bool, quiet: bool) -> None:
    """Train a run, or one stage of a recipe, with progress on the terminal and perhaps a log for TensorBoard."""
    from contextlib import closing, nullcontext

    from wsisr.cli.console import print_message
    from wsisr.cli.progress import show_progress
    from wsisr.training.tensorboard import TensorBoardLog

    status_line = StatusLine()
    board_log = closing(TensorBoardLog(run.folder)) if board else nullcontext()
    with board_log as open_log, closing(train_until_stopped(run, status_line, stop, open_log)) as progress:
        if run.is_main_process:
            for warning in run.warnings:
                print_message(warning)
        if not quiet:
            print_message(describe_start(run))
        for _ in show_progress(progress, status_line.format, quiet=quiet):
            pass


def describe_best_score(run: TrainingRun) -> str:
    """Describe the score of the best weights and, for a fine-tuned network's gain, the score before training."""
    by_goal = {
        "gain": f"{run.best_score:+.2f} dB over bicubic",
        "texture": "nearest to the truth's texture",
        "accuracy": f"{100 * run.best_score:.0f} % of magnifications recognised",
    }
    before = (
        f" ({run.initial_metrics['gain_db']:+.2f} dB before training)"
        if run.initial_metrics and run.goal == "gain"
        else ""
    )
    return f"{by_goal[run.goal]}{before} on the validation patches"


def describe_start(run: TrainingRun) -> str:
    """Describe what the command is about to do."""
    from wsisr.training.loop import count_trainable_parameters

    steps = run.steps
    if run.is_finished:
        return f"{run.folder}: all {steps} steps are done"
    if run.resumed:
        return f"{run.folder}: resuming at step {run.step} of {steps}"
    parameters, slides = count_trainable_parameters(run.trainer.network), len(run.sampler.records_by_slide)
    amount = f"{format_count(steps, 'step')}, {format_count(slides, 'slide')}"
    return f"{run.folder}: {parameters} trainable parameters, {amount}, on {run.device}"


def train_until_stopped(
    run: TrainingRun, status_line: StatusLine, stop: StopFlag, board: TensorBoardLog | None
) -> Generator[Progress, None, None]:
    """Train until all steps are done or `stop` is set, which saves a checkpoint; yield the steps of this call."""
    from wsisr.progress import Progress

    start = run.step
    if not run.is_finished:
        yield Progress("train", 0, run.steps - start)
    for report in run:
        status_line.update(report)
        if board:
            board.add_report(report)
        yield Progress("train", report.step - start, report.steps - start)
        if stop.is_set():
            run.save()
            return


@dataclass(slots=True)
class StatusLine:
    """The text behind the progress bar."""

    loss: float | None = None
    gain: float | None = None
    position: str = ""

    def update(self, report: StepReport) -> None:
        self.loss = (
            report.loss if self.loss is None else LOSS_SMOOTHING * self.loss + (1 - LOSS_SMOOTHING) * report.loss
        )
        self.gain = self.gain if report.gain_db is None else report.gain_db
        self.position = f"step {report.step}/{report.steps}"

    def format(self, progress: Progress, seconds: float) -> str:
        """Return `step 1200/3400, 2.1 steps/s, loss 0.0123, +1.52 dB`; the gain is that of the last validation."""
        if self.loss is None:
            return ""  # before the first step
        gain = "" if self.gain is None else f", {self.gain:+.2f} dB"
        return f"{self.position}, {progress.done / max(seconds, 1e-9):.2g} steps/s, loss {self.loss:.4f}{gain}"
