"""The Python interface. The shell's commands call the same functions.

    from orthomerge_core import api

    found = api.analyze("base.safetensors", ["detail.safetensors", "style.safetensors"])
    recipe = api.optimize(found)
    report = api.merge(recipe, "merged.safetensors")
    print(report.retention_written)

Nothing here imports torch before a function needs it. Paths may be text. Every error is an
`OrthoMergeError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .progress import Progress
from .recipe.model import Recipe
from .recipe_file import read_recipe_file

if TYPE_CHECKING:
    from .analysis.result import Analysis
    from .execute.output.details import FileDetails
    from .execute.output.report import MergeReport
    from .execute.output.verify import VerifyReport
    from .execute.plan.model import Plan
    from .forecast.forecast import Forecast
    from .keys.aligned import AlignedSet, ModelReport
    from .keys.setspec import Repairs, SetSpec
    from .report.description import FileDescription

__all__ = [
    "analyze",
    "analyze_set",
    "describe",
    "forecast",
    "inspect",
    "merge",
    "optimize",
    "plan",
    "run",
    "verify",
]

AnyPath = str | PathLike[str]


def describe(file: AnyPath) -> FileDescription:
    """What one file is: its architecture, size, formats, components and ancestry.

    Reads the header. `str` of the result is a paragraph for people.
    """
    from .report.description import describe_file

    return describe_file(Path(file))


def inspect(
    base: AnyPath,
    models: Sequence[AnyPath],
    *,
    architecture: str = "auto",
    progress: Progress | None = None,
) -> tuple[ModelReport, ...]:
    """How each model fits the base: headers are read, and samples to find duplicates.

    Returns: the base's report, then one per model in their order, also of those that do not fit.
    """
    from .keys.opening import open_set, spec_from_paths

    spec = spec_from_paths(Path(base), [Path(path) for path in models], architecture)
    with open_set(spec, allow_empty=True, progress=progress) as aligned:
        found = {m.report.name: m.report for m in aligned.models}
        found |= {report.name: report for report in aligned.skipped}
        return (aligned.base.report, *(found[name] for name in spec.names() if name in found))


def analyze(
    base: AnyPath,
    models: Sequence[AnyPath],
    *,
    architecture: str = "auto",
    components: str = "base",
    repairs: Repairs | None = None,
    rank_samples: int = 5,
    device: str = "cpu",
    cache: AnyPath | None = None,
    on_opened: Callable[[AlignedSet], None] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """How the models differ from the base and from each other, in one pass over the files.

    Args:
        models: files, or folders for all models in them.
        components: "base" measures every component that the base has, each separately; "diffusion"
            its diffusion model alone.
        repairs: which differences in naming and storage are removed while reading; None for all.
        rank_samples: how many of the largest matrices get their spectrum; 0 for none.
        device: "cpu" or "cuda".
        cache: a folder that keeps analyses and file hashes between runs.
        on_opened: called with the aligned set before the pass, for what was left out of it.
    """
    from .keys.opening import spec_from_paths

    spec = spec_from_paths(Path(base), [Path(path) for path in models], architecture, repairs)
    return analyze_set(
        replace(spec, components=components),
        rank_samples=rank_samples,
        device=device,
        cache=cache,
        on_opened=on_opened,
        progress=progress,
    )


def analyze_set(
    spec: SetSpec,
    *,
    rank_samples: int = 5,
    device: str = "cpu",
    cache: AnyPath | None = None,
    on_opened: Callable[[AlignedSet], None] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """`analyze` for a set that is described already, such as that of a recipe."""
    from .analysis.cache import AnalysisCache, analyze_cached
    from .concurrency.device import usable_device
    from .io.hash_memo import HashMemo
    from .keys.opening import open_set

    usable_device(device)
    folder = None if cache is None else Path(cache)
    with open_set(spec, progress=progress) as aligned:
        if on_opened is not None:
            on_opened(aligned)
        found = analyze_cached(
            aligned,
            AnalysisCache(folder / "analysis") if folder else None,
            rank_samples=rank_samples,
            memo=HashMemo(folder / "hashes" if folder else None),
            progress=progress,
            device=device,
        )
    return found.read_as(spec)


def optimize(analysis: Analysis, *, method: str | None = None, **settings: Any) -> Recipe:
    """The recipe that the optimizer proposes; reads no file.

    Args:
        method: a merge method; None for the default of new mixes.
        settings: fields of `OptimizeSettings`, such as `search` and `redundancy`.
    """
    from .methods.registry import DEFAULT_METHOD
    from .optimize.delta_base import optimize_parents
    from .optimize.proposal import proposal_recipe
    from .optimize.settings import OptimizeSettings

    proposal = optimize_parents(analysis, OptimizeSettings.from_json(settings))
    return proposal_recipe(analysis, proposal, method or DEFAULT_METHOD)


def forecast(analysis: Analysis, recipe: Recipe) -> Forecast:
    """What a merge will keep of every row, from the analysis alone; reads no file."""
    from .forecast.forecast import forecast as forecast_rows
    from .forecast.reduction import reduce_for_table
    from .methods.registry import get_method

    options = get_method(recipe.method).check_options(recipe.options)
    rows, boost = list(recipe.rows), recipe.texture_boost
    return forecast_rows(reduce_for_table(analysis), rows, recipe.method, options, boost)


@contextmanager
def plan(
    recipe: Recipe | AnyPath,
    target: AnyPath,
    *,
    folders: Sequence[AnyPath] = (),
    output_dtype: str | None = None,
    layout: str = "auto",
    overwrite: bool = False,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Iterator[Plan]:
    """A checked merge into a new file: what it will write, and what it will need.

    Headers are read and sources stay open within the context; `run_merge` executes the plan.

    Args:
        recipe: a recipe, or a JSON file or merged file that holds one.
        folders: where the recipe's files are looked for, beside the recipe's own folder, or the
            current folder if the recipe is not a file.
        output_dtype: overrides the recipe's.
        layout: "checkpoint", "diffusion", or "auto": a checkpoint where the base is one.
        cache: a folder that keeps hashes, Grams and decompositions between runs.

    Raises:
        PlanError: everything that is wrong with the merge, before a tensor is read.
    """
    from .execute.plan.pace import Pace
    from .execute.plan.planner import plan_merge
    from .execute.plan.renamed import resolve_by_content
    from .execute.plan.resolve import FolderResolver, spec_from_recipe
    from .io.hash_memo import HashMemo

    beside = Path() if isinstance(recipe, Recipe) else Path(recipe).parent
    read = recipe if isinstance(recipe, Recipe) else read_recipe_file(Path(recipe))
    memo = HashMemo(None if cache is None else Path(cache) / "hashes")
    finder = FolderResolver([*(Path(folder) for folder in folders), beside])
    spec = spec_from_recipe(read, resolve_by_content(read, finder, memo, progress))
    with plan_merge(
        read,
        spec,
        output_dtype=output_dtype,
        target=Path(target),
        overwrite=overwrite,
        layout=layout,
        pace=Pace(None if cache is None else Path(cache) / "pace"),
    ) as planned:
        yield planned


def run(
    planned: Plan,
    *,
    device: str = "cpu",
    provenance: bool = True,
    details: FileDetails | None = None,
    sha256: bool = False,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Execute what `plan` gave: the file appears complete or not at all.

    Args:
        provenance: write the recipe into the header.
        details: title, author, license and the like for the header.
        sha256: also hash the files whole, which reads each once more.
        cache: as in `plan`.
    """
    from .execute.caches import Caches
    from .execute.run import run_merge

    caches = Caches(None if cache is None else Path(cache))
    return run_merge(
        planned,
        caches,
        progress=progress,
        device=device,
        provenance=provenance,
        details=details,
        sha256=sha256,
    ).report


def merge(
    recipe: Recipe | AnyPath,
    target: AnyPath,
    *,
    folders: Sequence[AnyPath] = (),
    output_dtype: str | None = None,
    layout: str = "auto",
    device: str = "cpu",
    overwrite: bool = False,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Merge into a new file: `plan`, then `run`, whose arguments these are.

    Raises:
        PlanError: everything that is wrong with the merge, before a tensor is read.
    """
    with plan(
        recipe,
        target,
        folders=folders,
        output_dtype=output_dtype,
        layout=layout,
        overwrite=overwrite,
        cache=cache,
        progress=progress,
    ) as planned:
        return run(planned, device=device, cache=cache, progress=progress)


def verify(file: AnyPath, *, progress: Progress | None = None) -> VerifyReport:
    """Compute the content hash of a merged file again and compare it with the one in its header."""
    from .execute.output.verify import verify_file

    return verify_file(Path(file), progress)
