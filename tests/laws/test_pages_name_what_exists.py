"""The pages for those who carry on name folders, files, targets and layers that exist, and leave none out."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "site_node/README.md",
    "coordinator/README.md",
    "coordinator/research/README.md",
)
TOPS = ("site_node/", "coordinator/", "shared/", "tests/", "compose/", ".ci/")
PROGRAMS = ("site_node", "coordinator")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def paths_in(page: str) -> set[str]:
    """What a page quotes as a path from the top of the repository."""
    quoted = re.findall(r"`([^`\n]+)`", text_of(page))
    return {words.split("::")[0] for words in quoted if words.startswith(TOPS) and re.fullmatch(r"[\w./-]+", words)}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_quotes_exists(page: str) -> None:
    """A newcomer who follows a page arrives."""
    assert not {path for path in paths_in(page) if not (ROOT / path).exists()}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    """A link is to a file here, and its anchor is a heading there."""
    for target in re.findall(r"\]\(([^)#]*(?:#[^)]*)?)\)", text_of(page)):
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists()
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    """`make X` works wherever a page says it, and `make help` lists it."""
    makefile = text_of("Makefile")
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index] # it is there
    assert phony == explained
    assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", "\n".join(code_of(page)))) <= explained


def code_of(page: str) -> list[str]:
    """Code blocks and quoted words of a page."""
    text = text_of(page)
    return [*re.findall(r"```sh\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_layers_of_the_page_are_those_that_are_checked(program: str) -> None:
    """ARCHITECTURE.md shows the very layers of the import rules."""
    block = re.search(rf"<!-- layers: {program} -->\n(.*?)<!-- layers: end -->", text_of("ARCHITECTURE.md"), re.DOTALL)
    assert block is not None
    shown = [set(re.split(r", ", line)) for line in re.findall(r"^\d+\. (.+)$", block[1], re.MULTILINE)]
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == [program])
    assert shown == [set(layer.split(" | ")) for layer in layers]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_tree_of_the_page_has_every_room(program: str) -> None:
    """A room that the picture of the folders lacks is a room nobody is told of."""
    tree = re.search(r"## The folders\n\n```\n(.*?)```", text_of("ARCHITECTURE.md"), re.DOTALL)
    assert tree is not None
    start = tree[1].index(f"{program}/")
    end = tree[1].find("\nshared/", start) if program == "coordinator" else tree[1].index("\ncoordinator/", start)
    named = set(re.findall(r"\b([a-z_]+)/", tree[1][start:end])) - {program}
    rooms = {path.parent.name for path in (ROOT / program).glob("*/__init__.py")}
    assert named == rooms


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_room_that_has_unit_tests_has_them_under_its_name(program: str) -> None:
    """A folder of unit tests is named after a room."""
    rooms = {path.parent.name for path in (ROOT / program).glob("*/__init__.py")}
    tested = {path.name for path in (ROOT / "tests/unit" / program).iterdir() if any(path.glob("test_*.py"))}
    assert tested <= rooms
