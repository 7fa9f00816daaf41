"""The container recipe and the examples of workflows: what they name exists, and what they say can be parsed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from tests.support.samples import REPOSITORY
from tests.test_docs import code_blocks
from tests.test_packaging import pyproject
from wsisr.cli.app import app
from wsisr.cluster.place import SYSTEMS, check_jobqueue_keys, read_jobqueue_file
from wsisr.version import __version__

EXAMPLES = REPOSITORY / "docs" / "examples"
CLUSTERS = sorted(EXAMPLES.glob("*.yaml"))
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    name: str
    words: str


def read_dockerfile() -> list[Instruction]:
    """The instructions, without comments, each on one line."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def find(name: str) -> list[str]:
    return [instruction.words for instruction in read_dockerfile() if instruction.name == name]


def is_sent(path: str) -> bool:
    """Whether `.dockerignore` lets a path into the build: the last line that holds for it or a folder of it decides."""
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    names = [path, *(parent.as_posix() for parent in Path(path).parents if parent != Path())]
    decisive = [line for line in lines if any(fnmatch(name, line.removeprefix("!")) for name in names)]
    return not decisive or decisive[-1].startswith("!")


def test_the_image_is_built_of_files_that_exist_and_of_all_that_the_wheel_is_made_of() -> None:
    copied = [word for words in find("COPY") if not words.startswith("--from") for word in words.split()[:-1]]
    assert all((REPOSITORY / name).exists() and is_sent(name) for name in copied)
    project = pyproject()["project"]
    assert {"pyproject.toml", project["readme"], *project["license-files"], "wsisr", "weights"} <= set(copied)
    for name in ("data", "runs", ".venv", ".git", "tests", "Makefile", "wsisr/models/__pycache__"):
        assert not is_sent(name), name


def test_the_image_offers_the_extras_of_both_kinds_of_processor() -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    arguments = dict(words.split("=", 1) for words in find("ARG") if "=" in words)
    assert {arguments["COMPUTE"], *arguments["EXTRAS"].split(",")} <= set(extras)
    (choice,) = [words for words in find("RUN") if "case " in words]
    assert set(re.findall(r"(\w+)\) /opt", choice)) == {"cpu", "gpu"} <= set(extras)


@pytest.mark.parametrize("words", find("RUN"), ids=lambda words: words.split()[0])
def test_the_steps_of_the_image_are_sound_shell(words: str) -> None:
    subprocess.run(["sh", "-n", "-c", words], check=True)


def test_the_image_runs_this_version_and_not_as_root() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', find("LABEL")[0]))
    project = pyproject()["project"]
    assert labels["version"] == __version__
    assert (labels["title"], labels["licenses"]) == (project["name"], project["license"])
    assert labels["description"] == project["description"]
    assert int(find("USER")[-1]) > 0
    assert find("ENTRYPOINT") == [f'["{next(iter(project["scripts"]))}"]']


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_files_for_a_cluster_are_taken_whole_by_dask_jobqueue(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask
    import dask_jobqueue

    monkeypatch.chdir(tmp_path)  # where the folder of logs is made
    system, options = read_jobqueue_file(path)
    check_jobqueue_keys(path, system, options)
    with dask.config.set({f"jobqueue.{system}.{key}": value for key, value in options.items()}):
        job = getattr(dask_jobqueue, SYSTEMS[system]).job_cls("tcp://head:8786", name="worker")
    script = job.job_script()
    assert str(options["walltime"]) in script
    assert f"--nthreads {options['cores']}" in script
    assert all(word in script for word in options.get("job-extra-directives", []))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound_and_their_directives_come_first(path: Path) -> None:
    """sbatch reads no directive behind the first command."""
    subprocess.run(["bash", "-n", path], check=True)
    lines = path.read_text().splitlines()
    commands = [number for number, line in enumerate(lines) if not line.startswith("#")]
    assert max(number for number, line in enumerate(lines) if line.startswith("#SBATCH")) < commands[0]


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_commands_in_examples_have_options_that_exist(path: Path) -> None:
    text = re.sub(r"\\\n\s*", "", path.read_text())
    for line in re.findall(r"wsisr ((?:upscale|train) .*)", text):
        filled = re.sub(r"\\?\$\([^)]*\)|\$\{[^}]*\}|\$\w+", "1", line.split(" 2> ")[0])
        name, *options = shlex.split(filled)
        command = typer.main.get_command(app)
        context = command.make_context("wsisr", [], resilient_parsing=True)
        _, found, _ = command.resolve_command(context, [name])  # type: ignore[attr-defined]
        found.make_context(name, options, parent=context)


def test_the_page_shows_lines_of_the_examples() -> None:
    """Blocks of configurations and scripts; those without a language are commands for a terminal."""
    lines = {line.strip() for path in EXAMPLES.iterdir() for line in path.read_text().splitlines()}
    page = REPOSITORY / "docs" / "cluster.md"
    shown = re.findall(r"^```(?:yaml|bash|groovy|python)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert shown
    assert {line.strip() for block in shown for line in block.splitlines()} <= lines | {""}
    assert len(shown) < len(code_blocks(page))


@pytest.mark.skipif(shutil.which("snakemake") is None, reason="snakemake is not installed")
def test_snakemake_plans_a_job_for_each_slide(tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    for name in ("a", "b"):
        (tmp_path / "slides" / f"{name}.svs").touch()
    words = ["snakemake", "--dry-run", "--cores", "8", "--snakefile", str(EXAMPLES / "Snakefile")]
    planned = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert re.search(r"^upscale +2$", planned.stdout, re.MULTILINE)
