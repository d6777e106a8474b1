"""Resolves the file names in a recipe to paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from ...errors import FileError, OrthoMergeError, PlanError, RecipeError, did_you_mean
from ...io.opening import is_readable_name
from ...io.paths import did_you_mean_file, is_file
from ...io.source import Source
from ...keys.setspec import ModelSpec, Repairs, SetSpec
from ...recipe.model import BASE, Recipe
from .planner import problems_without_files

__all__ = ["FolderResolver", "repairs_from_recipe", "spec_from_recipe"]


class FolderResolver:
    """Finds a recipe's file name in folders and below them, by way of symbolic links too.

    The name may hold folders, with either separator. Where it is not there, the only file of the
    same last name is taken, once. Raises `FileError`: not found, with near misses, or several
    files that could be meant, which it lists; a content hash then decides
    (see `renamed.resolve_by_content`).
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._found: list[Path] | None = None
        self._lent: dict[Path, str] = {}

    def __call__(self, file: str) -> Path:
        """The path of a file by its name in the recipe."""
        wanted = file.replace("\\", "/")
        direct = [folder / wanted for folder in self.folders if (folder / wanted).is_file()]
        found = _distinct(direct) or _distinct(
            p for p in self.candidates() if _ends_with(p, wanted)
        )
        if len(found) == 1:
            return found[0]
        if found:
            raise _several(file, found)
        below = [p for p in self.candidates() if p.name == wanted.rpartition("/")[2]]
        if len(below) == 1 and self._lent.setdefault(below[0], wanted) == wanted:
            return below[0]
        if len(below) > 1:
            raise _several(file, below)
        beside = "Put it beside the recipe, or name its folder (in a shell with --models-dir)."
        near = did_you_mean_file(wanted, self._names(), none_known=beside, none_near=beside)
        raise FileError(f'"{file}" was not found', fix=near)

    def _names(self) -> list[str]:
        """The candidates as a recipe would name them, without the way to the folders."""
        found = []
        for path in self.candidates():
            tops = [top for top in self.folders if path.is_relative_to(top)]
            found.append(path.relative_to(tops[0]).as_posix() if tops else path.name)
        return sorted(set(found))

    def candidates(self) -> list[Path]:
        """Every readable model file in the folders and below, sorted; looked for once."""
        if self._found is None:
            self._found = self._search()
        return self._found

    def _search(self) -> list[Path]:
        seen: set[str] = set()
        found: list[Path] = []
        for top in self.folders:
            for folder, below, files in os.walk(top, followlinks=True):
                real = os.path.realpath(folder)
                if real in seen:  # a link that leads back, or a folder within another
                    below.clear()
                    continue
                seen.add(real)
                below.sort()
                found += [Path(folder, name) for name in sorted(files) if is_readable_name(name)]
        return _distinct(path for path in found if is_file(path))


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """The paths without those that are the same file as an earlier one."""
    return list({path.resolve(): path for path in reversed(list(paths))}.values())[::-1]


def _ends_with(path: Path, wanted: str) -> bool:
    return f"/{path.absolute().as_posix()}".endswith(f"/{wanted}")


def _several(file: str, paths: Sequence[Path]) -> FileError:
    """The error that lists candidates, each by the last folders that tell them apart."""
    depth = 2
    parts = [path.absolute().parts for path in paths]
    while len({p[-depth:] for p in parts}) < len(parts) and depth < max(map(len, parts)):
        depth += 1
    shown = ", ".join("/".join(p[-depth:]) for p in parts[:6]) + (", …" if len(parts) > 6 else "")
    return FileError(
        f'"{file}" could be {len(paths)} files',
        expected="one file, or a content hash in the recipe",
        received=shown,
        fix="Name it with its folder, or leave out a --models-dir.",
    )


def spec_from_recipe(
    recipe: Recipe,
    resolve: Callable[[str], Path],
    live: Mapping[str, Source] | None = None,
    *,
    resolve_vae: Callable[[str], Path] | None = None,
) -> SetSpec:
    """The set of files that the merge reads: the base and the models of active rows.

    Args:
        resolve: file name → path; raises an `OrthoMergeError` for what it cannot find.
        resolve_vae: as `resolve`, for the file that gives the VAE; None for the same folders.
        live: model name (or "base") → an open source that stands in for its file.

    Raises:
        PlanError: every file that was not found, every MODEL that was connected when the recipe
            was made, and what else is wrong with the recipe, collected.
    """
    live = live or {}
    problems: list[OrthoMergeError] = []

    def spec(name: str, file: str, block_map: str = "") -> ModelSpec:
        if name in live:
            return ModelSpec(name, file, source=live[name], block_map=block_map)
        try:
            return ModelSpec(name, file, path=resolve(file), block_map=block_map)
        except OrthoMergeError as error:
            problems.append(error)
            return ModelSpec(name, file)

    base = spec(BASE, recipe.base)
    refs = recipe.models
    lost = [name for name in recipe.used_models() if name in refs and refs[name].live]
    lost = [name for name in lost if name not in live]
    problems += [_was_live(name) for name in lost]
    used = [name for name in recipe.used_models() if name in refs and name not in lost]
    models = tuple(spec(name, refs[name].file, refs[name].block_map) for name in used)
    vae = None
    if recipe.vae_file is not None:
        try:
            path = (resolve_vae or resolve)(recipe.vae_file)
            vae = ModelSpec("VAE", recipe.vae_file, path=path)
        except OrthoMergeError as error:
            problems.append(error)
    if problems:
        raise PlanError([*problems_without_files(recipe), *problems])
    repairs = repairs_from_recipe(recipe)
    return SetSpec(base, models, recipe.architecture, repairs, recipe.components, vae)


def _was_live(name: str) -> OrthoMergeError:
    return FileError(
        f'"{name}" was a MODEL connected in ComfyUI, which no recipe can hold',
        fix="Connect that MODEL to OrthoAddModel again, or save it and name its file.",
    )


def repairs_from_recipe(recipe: Recipe) -> Repairs:
    """The reader's repairs that a recipe asks for; `RecipeError` names an unknown one."""
    known = tuple(field.name for field in fields(Repairs))
    for name in recipe.repairs:
        if name not in known:
            raise RecipeError(f'unknown repair "{name}"', fix=did_you_mean(name, known))
    return Repairs(**dict(recipe.repairs))
