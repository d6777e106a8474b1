"""The documents: what they promise exists, and what exists is in them."""

from __future__ import annotations

import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from orthomerge_core.cli.app import app
from orthomerge_core.io.quant.registry import all_schemes
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.recipe.codec import RECIPE_FIELDS, ROW_FIELDS, loads

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
HEADINGS = ("Concept", "Use when", "Inputs", "Parameters", "Reference")
LINK = re.compile(r"\]\(([^)#]+?)(#[^)]*)?\)")


def page(name: str) -> str:
    """The text of a page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in that language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES])
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target, _ in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_links_every_page() -> None:
    assert [p.name for p in PAGES if f"(docs/{p.name})" not in README] == []


def test_the_readmes_program_merges_the_readmes_recipe(tmp_path: Path) -> None:
    (program,), (recipe,) = blocks("python"), blocks("json")
    assert len([line for line in program.splitlines() if line]) <= 9
    parsed = loads(recipe)
    generator = torch.Generator().manual_seed(1)
    for name in ("base", *parsed.models):
        tensors = {f"blocks.{i}.weight": torch.randn(4, 4, generator=generator) for i in (3, 12)}
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / "recipe.json").write_text(recipe, encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

    base, detail, style, merged = (
        load_file(tmp_path / f"{name}.safetensors")
        for name in ("base", "detail", "style", "merged")
    )
    for key, weight in (("blocks.3.weight", 0.7 * 0.5), ("blocks.12.weight", 0.7)):
        first, second = detail[key] - base[key], style[key] - base[key]
        new = second - first * (first * second).sum() / (first * first).sum()
        torch.testing.assert_close(merged[key], base[key] + first + weight * new)


@pytest.mark.parametrize("name", list(all_methods()))
def test_every_method_has_its_five_headings_and_parameters(name: str) -> None:
    text = page("methods.md").split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\*([A-Z][^*]*):\*", text, re.MULTILINE) == list(HEADINGS)
    parameters = text.split("*Parameters:*", 1)[1].split("*Reference:*", 1)[0]
    for param in all_methods()[name].params:
        assert f"`{param.name}`" in parameters
        assert all(c in parameters for c in param.choices)


def test_every_command_is_on_the_shells_page() -> None:
    text = page("shell.md")
    for name in app.commands:
        assert f"| `{name}` |" in text
        assert f"\northomerge {name} " in text


@pytest.mark.parametrize("name", list(all_schemes()))
def test_every_quantized_format_is_on_the_formats_page(name: str) -> None:
    assert f"`{name}`" in page("formats.md")


def test_every_field_of_a_recipe_is_on_the_interfaces_page() -> None:
    text = page("api.md")
    assert [f for f in (*RECIPE_FIELDS, *ROW_FIELDS) if f"`{f}`" not in text] == []


def test_usage_names_the_program_as_it_was_started() -> None:
    command = [sys.executable, "-m", "orthomerge_core", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: python -m orthomerge_core [OPTIONS]")


QUOTES = "\"'# "
BRITISH = re.compile(
    r"(?<![\w`.\"'/-])(analys(?:e|ed|ing)|neighbour\w*|recognis\w+|normalis(?:ed|ation)|"
    r"(?:de)?quantis(?:ed|ation)|colours?|minimises|labelled|initialisation|optimiser|grey|licence)"
    r"(?![\w`\"'=]|\.py|\()",
    re.IGNORECASE,
)


@pytest.mark.parametrize("folder", ["orthomerge_core", "nodes"])
def test_prose_is_in_american_spelling(folder: str) -> None:
    """Comments, docstrings and messages; names that users have stored keep theirs."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        with tokenize.open(path) as file:
            for token in tokenize.generate_tokens(file.readline):
                prose = token.type == tokenize.COMMENT or " " in token.string
                if token.type in (tokenize.COMMENT, tokenize.STRING) and prose:
                    found += [
                        f"{path.name}: {word}"
                        for word in BRITISH.findall(token.string.strip(QUOTES))
                    ]
    assert found == []
