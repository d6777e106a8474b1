"""A model card: what a merge is made of and how to repeat it, as Markdown to publish."""

from __future__ import annotations

from collections.abc import Mapping

from ..execute.output.ancestry import INGREDIENTS
from ..io.file_hash import AUTO_V2
from ..recipe.layers import parse_layers
from ..recipe.model import BASE, Recipe
from .ancestry_text import ancestry_lines
from .formula import formula_text

__all__ = ["model_card"]


def model_card(
    recipe: Recipe,
    header: Mapping[str, str] | None = None,
    sha256: Mapping[str, str] | None = None,
    name: str = "merged",
) -> str:
    """Formula, sources with their hashes, weights of blocks, licenses, and the command to repeat.

    Args:
        header: of the merged file, where there is one: its title, license and ingredients.
        sha256: of the report, where it was asked for.
        name: what the result's file is called, without its ending.
    """
    header = header or {}
    lines = [f"# {_text(header.get('modelspec.title') or name)}", "", *_about(header)]
    math, _, method = formula_text(recipe).partition("\n")
    lines += ["## Formula", "", "```", math, "```", ""]
    lines += [method, ""] if method else []
    lines += ["## Made of", "", *_sources(recipe, sha256 or {}), ""]
    lines += _blocks(recipe)
    lines += _licenses(header)
    if header.get(INGREDIENTS):
        lines += ["## Whole family", "", "```", *ancestry_lines(header), "```", ""]
    lines += ["## Repeat it", "", *_command(recipe, name, merged=bool(header)), ""]
    return "\n".join(lines)


def _about(header: Mapping[str, str]) -> list[str]:
    told = (
        ("Author", "author"),
        ("Architecture", "architecture"),
        ("Trigger words", "trigger_phrase"),
        ("Prediction", "prediction_type"),
    )
    found = [(word, header.get(f"modelspec.{field}", "")) for word, field in told]
    lines = [f"- {word}: {_text(value)}" for word, value in found if value]
    return [*lines, ""] if lines else []


def _sources(recipe: Recipe, sha256: Mapping[str, str]) -> list[str]:
    known = any(name in sha256 for name in (BASE, *recipe.models))
    lines = ["| model | file | content hash |" + (" AutoV2 |" if known else "")]
    lines.append("|---|---|---|" + ("---|" if known else ""))
    used = recipe.used_models()
    files = [(BASE, recipe.base, recipe.base_hash)]
    files += [(n, recipe.models[n].file, recipe.models[n].content_hash) for n in used]
    if recipe.vae_file is not None:
        files.append(("VAE", recipe.vae_file, recipe.vae.content_hash))
    for name, file, digest in files:
        line = f"| {_cell(name)} | {_cell(file)} | {f'`{digest}`' if digest else 'not known'} |"
        auto = sha256.get(name, sha256.get(f"VAE {file}", ""))[:AUTO_V2]
        lines.append(line + (f" {f'`{auto}`' if auto else 'not known'} |" if known else ""))
    return lines


def _blocks(recipe: Recipe) -> list[str]:
    rows = [row for row in recipe.active_rows if row.layers.strip() or row.text is not None]
    if not rows:
        return []
    lines = ["## Weights of blocks", ""]
    lines += ["| row | alpha | text encoders | blocks |", "|---|---:|---|---|"]
    for row in rows:
        pairs = parse_layers(row.layers)
        told = [f"{rule.pattern}={rule.weight:g}" for rule in pairs.rules]
        told += [f"default={pairs.default:g}"] if pairs.default != 1.0 else []
        words = "as alpha" if row.text is None else _alphas(row.text)
        cells = (_cell(row.model), f"{row.alpha:g}", words, _cell(", ".join(told) or "all alike"))
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _alphas(text: float | tuple[float, float]) -> str:
    return f"{text[0]:g} / {text[1]:g}" if isinstance(text, tuple) else f"{text:g}"


def _licenses(header: Mapping[str, str]) -> list[str]:
    told = header.get("modelspec.license", "")
    if not told:
        return []
    lines = ["## License", "", _text(told)]
    if "; " in told:
        lines.append("\nThe ingredients state different licenses: all of them apply.")
    return [*lines, ""]


def _command(recipe: Recipe, name: str, *, merged: bool) -> list[str]:
    origin = f"{name}.safetensors" if merged else f"{name}.json"
    what = "the recipe is in the file's header" if merged else "with the recipe as a file"
    files = ", ".join(dict.fromkeys(_text(f) for f in _files(recipe)))
    return [
        f"With {files} in one folder, {what}:",
        "",
        "```",
        f"orthomerge merge {_word(origin)} -o {_word(f'{name} again.safetensors')} "
        "--models-dir FOLDER",
        "```",
    ]


def _files(recipe: Recipe) -> list[str]:
    found = [recipe.base, *(recipe.models[name].file for name in recipe.used_models())]
    return found + ([recipe.vae_file] if recipe.vae_file else [])


def _word(text: str) -> str:
    """A file name as a shell takes it."""
    plain = all(c.isalnum() or c in "._-/" for c in text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"


def _text(text: str) -> str:
    """Text of any origin as one line of Markdown."""
    line = " ".join(text.split())
    for mark in "\\`*_[]<>#|":
        line = line.replace(mark, f"\\{mark}")
    return line


def _cell(text: str) -> str:
    return _text(text)
