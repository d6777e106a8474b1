"""Finds a recipe's sources by content where their names have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ...errors import Cancelled, FileError, OrthoMergeError
from ...io.hash_memo import HashMemo
from ...keys.content import diffusion_part, model_content_hash
from ...keys.opening import open_set
from ...keys.setspec import ModelSpec, SetSpec
from ...progress import Progress
from ...recipe.model import BASE, Recipe
from .resolve import repairs_from_recipe

__all__ = ["Resolver", "resolve_by_content"]


class Resolver(Protocol):
    """Finds files by the name in a recipe, and knows which others there are."""

    def __call__(self, file: str) -> Path:
        """The path of a file; raises `FileError` where there is none."""

    def candidates(self) -> Sequence[Path]:
        """Every model file that a renamed one may be."""


def resolve_by_content(
    recipe: Recipe,
    resolver: Resolver,
    memo: HashMemo | None = None,
    progress: Progress | None = None,
) -> Callable[[str], Path]:
    """A resolver that also finds files which a recipe knows by content hash under another name.

    Only where a name is not found are the folders' other models compared; each is read once, and
    never again where `memo` remembers it. What is not found stays the resolver's error.
    """
    search = _Search(recipe, resolver, memo, progress or Progress())
    search.run()
    return lambda file: search.found.get(file) or resolver(file)


class _Search:
    """Looks for the lost files of one recipe; `found` is file name → path."""

    def __init__(
        self, recipe: Recipe, resolver: Resolver, memo: HashMemo | None, progress: Progress
    ) -> None:
        self._recipe, self._resolver, self._memo = recipe, resolver, memo
        self._progress = progress
        self.found: dict[str, Path] = {}

    def run(self) -> None:
        recipe = self._recipe
        refs = [recipe.models[n] for n in recipe.used_models() if n in recipe.models]
        refs = [ref for ref in refs if not ref.live]
        lost = {r.content_hash: r.file for r in refs if r.content_hash and self._lost(r.file)}
        base_lost = recipe.base_hash is not None and self._lost(recipe.base)
        if not lost and not base_lost:
            return
        wanted = {
            name.replace("\\", "/").rpartition("/")[2] for name in (*lost.values(), recipe.base)
        }
        # most likely the content hash decides between files of that name
        candidates = sorted(self._resolver.candidates(), key=lambda path: path.name not in wanted)
        if base_lost:
            match = (p for p in candidates if recipe.base_hash in self._hashes(p, None))
            path = next(match, None)
            if path is None:
                return
            self.found[recipe.base] = path
        elif self._lost(recipe.base):
            return
        base = self.found.get(recipe.base) or self._resolver(recipe.base)
        for path in candidates:
            digests = self._hashes(path, base) if lost else ()
            digest = next((d for d in digests if d in lost), None)
            if digest is not None:
                self.found[lost.pop(digest)] = path

    def _lost(self, file: str) -> bool:
        try:
            self._resolver(file)
        except FileError:
            return True
        return False

    def _hashes(self, path: Path, base: Path | None) -> tuple[str, ...]:
        """The content hashes of a file as a base, or as a model of `base`; none if it is neither.

        That of all its components, and that of its diffusion model, by which an analysis knows it.
        """
        model = ModelSpec("candidate", path.name, path)
        repairs = repairs_from_recipe(self._recipe)
        first = model if base is None else ModelSpec(BASE, base.name, base)
        models = () if base is None else (model,)
        components = self._recipe.components
        spec = SetSpec(first, models, self._recipe.architecture, repairs, components)
        try:
            with open_set(spec, find_duplicates=False) as aligned:
                opened = aligned.base if base is None else aligned.models[0]
                whole = model_content_hash(opened, self._memo, self._progress)
                part = diffusion_part(aligned, opened)
                return whole, model_content_hash(part, self._memo, self._progress)
        except Cancelled:
            raise
        except OrthoMergeError:  # not a model, or not of this family: no candidate
            return ()
