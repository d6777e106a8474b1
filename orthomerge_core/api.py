"""The core as six functions.

    from orthomerge_core import api

    found = api.analyze("base.safetensors", ["detail.safetensors", "style.safetensors"])
    recipe = api.optimize(found)
    report = api.merge(recipe, "merged.safetensors")
    print(report.retention_written)

Nothing here imports torch before a function needs it. Paths may be text. Every error is an
`OrthoMergeError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .progress import Progress
from .recipe.model import Recipe

if TYPE_CHECKING:
    from .analysis.result import Analysis
    from .execute.output.report import MergeReport
    from .execute.output.verify import VerifyReport
    from .forecast.forecast import Forecast
    from .keys.aligned import ModelReport

__all__ = ["analyze", "forecast", "inspect", "merge", "optimize", "verify"]

AnyPath = str | PathLike[str]


def inspect(
    base: AnyPath, models: Sequence[AnyPath], *, architecture: str = "auto"
) -> tuple[ModelReport, ...]:
    """How each model fits the base: headers are read, and samples to find duplicates.

    Returns: the base's report, then one per model in their order, also of those that do not fit.
    """
    from .keys.opening import open_set, spec_from_paths

    spec = spec_from_paths(Path(base), [Path(path) for path in models], architecture)
    with open_set(spec, allow_empty=True) as aligned:
        found = {m.report.name: m.report for m in aligned.models}
        found |= {report.name: report for report in aligned.skipped}
        return (aligned.base.report, *(found[name] for name in spec.names() if name in found))


def analyze(
    base: AnyPath,
    models: Sequence[AnyPath],
    *,
    architecture: str = "auto",
    rank_samples: int = 5,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """How the models differ from the base and from each other, in one pass over the files.

    Args:
        models: files, or folders for all models in them.
        rank_samples: how many of the largest matrices get their spectrum; 0 for none.
        cache: a folder that keeps analyses and file hashes between runs.
    """
    from .analysis.cache import AnalysisCache, analyze_cached
    from .io.hash_memo import HashMemo
    from .keys.opening import open_set, spec_from_paths

    spec = spec_from_paths(Path(base), [Path(path) for path in models], architecture)
    folder = None if cache is None else Path(cache)
    with open_set(spec, progress=progress) as aligned:
        return analyze_cached(
            aligned,
            AnalysisCache(folder / "analysis") if folder else None,
            rank_samples=rank_samples,
            memo=HashMemo(folder / "hashes") if folder else None,
            progress=progress,
        )


def optimize(analysis: Analysis, *, method: str | None = None, **settings: Any) -> Recipe:
    """The recipe that the optimizer proposes; reads no file.

    Args:
        method: a merge method; None for the default of new mixes.
        settings: fields of `OptimizeSettings`, such as `search` and `redundancy`.
    """
    from .methods.registry import DEFAULT_METHOD
    from .optimize.delta_base import optimise
    from .optimize.proposal import proposal_recipe
    from .optimize.settings import OptimizeSettings

    proposal = optimise(analysis, OptimizeSettings.from_json(settings))
    return proposal_recipe(analysis, proposal, method or DEFAULT_METHOD)


def forecast(analysis: Analysis, recipe: Recipe) -> Forecast:
    """What a merge will keep of every row, from the analysis alone; reads no file."""
    from .forecast.forecast import forecast as forecast_rows
    from .forecast.reduction import reduce_for_table
    from .methods.registry import get_method

    options = get_method(recipe.method).check_options(recipe.options)
    rows, boost = list(recipe.rows), recipe.texture_boost
    return forecast_rows(reduce_for_table(analysis), rows, recipe.method, options, boost)


def merge(
    recipe: Recipe | AnyPath,
    target: AnyPath,
    *,
    folders: Sequence[AnyPath] = (),
    output_dtype: str | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Merge into a new file, which appears complete or not at all.

    Args:
        recipe: a recipe, or a JSON file or merged file that holds one.
        folders: where the recipe's files are looked for, beside the recipe's own folder, or the
            current folder if the recipe is not a file.
        output_dtype: overrides the recipe's.
        cache: a folder that keeps hashes, Grams and decompositions between runs.

    Raises:
        PlanError: everything that is wrong with the merge, before a tensor is read.
    """
    from .execute.caches import Caches
    from .execute.plan.planner import plan_merge
    from .execute.plan.renamed import resolve_by_content
    from .execute.plan.resolve import FolderResolver, spec_from_recipe
    from .execute.run import run_merge

    beside = Path() if isinstance(recipe, Recipe) else Path(recipe).parent
    read = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))
    caches = Caches(None if cache is None else Path(cache))
    finder = FolderResolver([*(Path(folder) for folder in folders), beside])
    spec = spec_from_recipe(read, resolve_by_content(read, finder, caches.memo, progress))
    with plan_merge(
        read, spec, output_dtype=output_dtype, target=Path(target), overwrite=overwrite
    ) as plan:
        return run_merge(plan, caches, progress=progress, device=device).report


def verify(file: AnyPath, *, progress: Progress | None = None) -> VerifyReport:
    """Compute the content hash of a merged file again and compare it with the one in its header."""
    from .execute.output.verify import verify_file

    return verify_file(Path(file), progress)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file, or from the header of a merged file."""
    from .errors import FileError
    from .execute.output.provenance import recipe_from_metadata
    from .io.opening import is_readable_name, open_source
    from .recipe.codec import loads

    if is_readable_name(path.name):
        with open_source(path) as source:
            return recipe_from_metadata(source.metadata, path.name)
    try:
        return loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise FileError(
            f'"{path.name}" cannot be read as a recipe',
            fix="Name a recipe's JSON or a merged file.",
        ) from None
