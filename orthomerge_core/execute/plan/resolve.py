"""From the names in a recipe to the files that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from ...errors import FileError, OrthoMergeError, PlanError, RecipeError, did_you_mean
from ...io.opening import is_readable_name
from ...io.source import Source
from ...keys.setspec import ModelSpec, Repairs, SetSpec
from ...recipe.model import BASE, Recipe
from .planner import problems_without_files

__all__ = ["FolderResolver", "repairs_from_recipe", "spec_from_recipe"]


class FolderResolver:
    """Finds a recipe's file name in folders, in their order; the name may hold subfolders.

    Where the name is not there, a file of the same name anywhere below is taken if it is the only
    one. Raises `FileError` with near misses.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._found: list[Path] | None = None

    def __call__(self, file: str) -> Path:
        """The path of a file by its name in the recipe."""
        for folder in self.folders:
            if (folder / file).is_file():
                return folder / file
        below = [p for p in self.candidates() if p.name == Path(file).name]
        if len(below) == 1:
            return below[0]
        names = sorted({p.name for p in self.candidates()})
        raise FileError(
            f'"{file}" was not found',
            received=f"{len(below)} files of that name in subfolders" if below else None,
            fix=did_you_mean(file, names)
            if names
            else "Put it beside the recipe, or name its folder (in a shell with --models-dir).",
        )

    def candidates(self) -> list[Path]:
        """Every readable model file in the folders and below, sorted; looked for once."""
        if self._found is None:
            self._found = self._search()
        return self._found

    def _search(self) -> list[Path]:
        found = {
            path.resolve(): path
            for folder in self.folders
            for path in sorted(folder.rglob("*"))
            if is_readable_name(path.name) and path.is_file()
        }
        return list(found.values())


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
        PlanError: every file that was not found, and what else is wrong with the recipe, collected.
    """
    live = live or {}
    problems: list[OrthoMergeError] = []

    def spec(name: str, file: str) -> ModelSpec:
        if name in live:
            return ModelSpec(name, file, source=live[name])
        try:
            return ModelSpec(name, file, path=resolve(file))
        except OrthoMergeError as error:
            problems.append(error)
            return ModelSpec(name, file)

    base = spec(BASE, recipe.base)
    used = [name for name in recipe.used_models() if name in recipe.models]
    models = tuple(spec(name, recipe.models[name].file) for name in used)
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


def repairs_from_recipe(recipe: Recipe) -> Repairs:
    """The reader's repairs that a recipe asks for; `RecipeError` names an unknown one."""
    known = tuple(field.name for field in fields(Repairs))
    for name in recipe.repairs:
        if name not in known:
            raise RecipeError(f'unknown repair "{name}"', fix=did_you_mean(name, known))
    return Repairs(**dict(recipe.repairs))
