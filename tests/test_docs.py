"""README and docs: every command parses, every bench exists, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from tests.bench.__main__ import find_benches
from tests.support.pairs import write_slide
from tests.support.samples import REPOSITORY
from wsisr.cli.app import app

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PAGES_WITH_PYTHON = [REPOSITORY / "README.md", REPOSITORY / "docs" / "python-api.md"]
CARDS = sorted((REPOSITORY / "weights").glob("*.md"))
CHAPTERS = {
    *("quickstart", "inputs", "outputs-and-viewers", "viewer", "quality-and-limits", "tissue-and-colour", "operations"),
    *("cluster", "datasets", "training", "performance", "python-api", "architecture"),
}

README_BYTES = 8192
"""A page that people read to its end."""


def code_blocks(page: Path) -> list[str]:
    return re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of code blocks that run wsisr, without a prompt, each joined with the lines that continue it."""
    lines = "\n".join(code_blocks(page)).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("wsisr ")]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short_and_every_chapter_is_there() -> None:
    assert (REPOSITORY / "README.md").stat().st_size <= README_BYTES
    assert {page.stem for page in PAGES} == {"README"} | CHAPTERS


def test_readme_counts_its_commands() -> None:
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Six commands\n(.*?)^## ", page, re.DOTALL | re.MULTILINE)
    assert len({line.split()[1] for line in section.splitlines() if line.startswith("wsisr ")}) == 6


def test_pages_agree_on_the_size_of_the_installation() -> None:
    places = [REPOSITORY / "README.md", REPOSITORY / "docs" / "quickstart.md", REPOSITORY / "Makefile"]
    sizes = [re.findall(r"(\d\.\d GB)(?: with| \(|, which)", place.read_text(encoding="utf-8")) for place in places]
    assert all(sizes)
    assert len({size for found in sizes for size in found}) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options exist and values are of their types; nothing is run."""
    monkeypatch.chdir(tmp_path)
    Path("run.toml").touch()  # --config reads it while the command is parsed
    for line in commands(page):
        command = typer.main.get_command(app)
        context = command.make_context("wsisr", [], resilient_parsing=True)
        words = shlex.split(line, comments=True)[1:]
        while hasattr(command, "resolve_command"):
            name, command, words = command.resolve_command(context, words)
            is_group = hasattr(command, "resolve_command")
            context = command.make_context(name, list(words), parent=context, resilient_parsing=is_group)


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=lambda page: page.name)
def test_benches_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"python\s+-m\s+tests\.bench\s+([a-z_]+)", page.read_text(encoding="utf-8"))
    assert set(named) <= set(find_benches())


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for page in [*PAGES, *CARDS]:
        named = re.findall(r"`(?:\w+=\S+ )?make ([a-z-]+)", page.read_text(encoding="utf-8"))
        assert set(named) <= targets, page.name


@pytest.mark.parametrize(
    "page", [REPOSITORY / "README.md", REPOSITORY / "docs" / "python-api.md"], ids=lambda page: page.name
)
@pytest.mark.filterwarnings("ignore::wsisr.UpscaleWarning")  # the slide is noise, which the guard refuses
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert examples
    write_slide(tmp_path / "slide.svs")
    monkeypatch.chdir(tmp_path)
    for example in examples:
        exec(compile(example, page.name, "exec"), {})
    assert (tmp_path / "slide.x2.ome.tif").is_file()
