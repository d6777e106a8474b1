"""`orthomerge tune`: search for the recipe with the best score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..api import analyze_set
from ..recipe.codec import dumps, to_json
from ..recipe.model import Recipe
from .bar import Bar
from .common import (
    FILE,
    FOLDER,
    cache_folder,
    cache_options,
    echo_json,
    json_flag,
    make_folder,
    quiet_flag,
    read_json,
    read_recipe,
    require_text_target,
    write_text,
)

if TYPE_CHECKING:
    from ..analysis.result import Analysis
    from ..tune.results import Finished
    from ..tune.study import Study

__all__ = ["tune"]


@dataclass(frozen=True)
class _Scoring:
    """(name, direction) of each score, how a recipe gets them, and what needs no merge."""

    names: tuple[tuple[str, str], ...]
    compute: Callable[[Recipe, Bar], Sequence[float]]
    kept: Callable[[Recipe], dict[str, float]]
    start: Callable[[Recipe], tuple[float, ...] | None]


@click.command(short_help="Search for the recipe with the best score.")
@click.argument("recipe", type=FILE)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    required=True,
    metavar="TARGET=RANGE",
    help="What may change: each.alpha=0:1.5, damping=0.001:1:log, method=average,ties.",
)
@click.option(
    "--score",
    "scores",
    multiple=True,
    default=("forecast",),
    help="forecast, retention=0.8, equal, weakest, mean, drift, cancellation; with --workflow a "
    "node's FLOAT output: NODE.OUTPUT, min:NODE.OUTPUT. Several give a Pareto front.",
)
@click.option("--trials", default=100, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--sampler", default="auto", help="auto, tpe, cmaes, random or nsga2.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1))
@click.option("--study", help="Name of the study; one that is there continues.")
@click.option(
    "--storage",
    default="",
    help="Database of the study: a file or a URL; ORTHOMERGE_STUDIES, or a file in the cache.",
)
@click.option("--analysis", "analysis_file", type=FILE, help="JSON of analyze; else it is made.")
@click.option("--models-dir", "folders", multiple=True, type=FOLDER, help="Where models lie.")
@click.option("--workflow", type=FILE, help="API workflow that merges, samples and scores.")
@click.option("--api", "--server", "api", help="Address of ComfyUI, as for preview.")
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds for one trial.")
@click.option("-o", "--output", type=FILE, help="File for the best recipe.")
@click.option("--report", type=FILE, help="Folder for a report and pictures.")
@cache_options
@json_flag
@quiet_flag
def tune(
    recipe: Path,
    parameters: tuple[str, ...],
    scores: tuple[str, ...],
    trials: int,
    sampler: str,
    seed: int,
    study: str | None,
    storage: str,
    analysis_file: Path | None,
    folders: tuple[Path, ...],
    workflow: Path | None,
    api: str | None,
    timeout: float,
    output: Path | None,
    report: Path | None,
    cache_dir: Path | None,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Change RECIPE within the parameters until a score is best.

    Scores of the forecast merge nothing. With --workflow every trial is merged and sampled by a
    running ComfyUI. A search that was stopped continues under its --study.
    """
    if output is not None:
        require_text_target(output)
    if report is not None:
        make_folder(report)
    read, cache = read_recipe(recipe), cache_folder(cache_dir, no_cache)
    from ..tune.parameters import parse_parameters
    from ..tune.search import search
    from ..tune.storage import MEMORY, Storage, storage_url
    from ..tune.study import Plan, Study

    found = parse_parameters(parameters, read)
    with Bar(quiet=quiet) as bar:
        if workflow is not None:
            scoring = _by_workflow(workflow, api, scores, timeout)
        else:
            around = (*folders, recipe.parent)
            scoring = _by_forecast(read, analysis_file, around, scores, cache, bar)
        plan = Plan(read, found, scoring.names, sampler, seed)
        # What needs no merge is as fast again as it can be read, and is kept only on request.
        forgets = no_cache or (workflow is None and study is None)
        place = MEMORY if forgets and not storage else storage
        url = storage_url(place, (cache or Path()) / "studies")
        made = Study(Storage(url), study or recipe.stem, plan)
        search(made, lambda trial: scoring.compute(trial.recipe, bar), trials, bar)
    return _show(made, scoring, output, report, as_json=as_json)


def _by_workflow(workflow: Path, api: str | None, texts: Sequence[str], timeout: float) -> _Scoring:
    from .workflow_run import WorkflowRunner, client, node_score, read_workflow

    graph = read_workflow(workflow)
    scores = [node_score(text, graph) for text in texts]
    runner = WorkflowRunner(client(api), graph, scores, timeout_s=timeout)
    names = tuple((score.name, score.direction) for score in scores)
    return _Scoring(names, runner.score, lambda _: {}, lambda _: None)


def _by_forecast(
    recipe: Recipe,
    analysis_file: Path | None,
    folders: tuple[Path, ...],
    texts: Sequence[str],
    cache: Path | None,
    bar: Bar,
) -> _Scoring:
    from ..tune.scores import ForecastScores, parse_score

    scores = [parse_score(text) for text in texts]
    found = ForecastScores(_analysis(recipe, analysis_file, folders, cache, bar), scores)
    return _Scoring(
        tuple((score.name, score.direction) for score in scores),
        lambda recipe, _: found(recipe),
        lambda recipe: dict(found.retention(recipe)[1]),
        found,
    )


def _analysis(
    recipe: Recipe, file: Path | None, folders: tuple[Path, ...], cache: Path | None, bar: Bar
) -> Analysis:
    """The analysis of every model that has a row, also of those that are off."""
    if file is not None:
        from ..analysis.codec import from_json

        return from_json(read_json(file, "an analysis"))
    from ..execute.plan.renamed import resolve_by_content
    from ..execute.plan.resolve import FolderResolver, spec_from_recipe
    from ..io.hash_memo import HashMemo

    rows = tuple(replace(row, enabled=True, alpha=1.0) for row in recipe.rows)
    whole = replace(recipe, rows=rows)
    memo = HashMemo(None if cache is None else cache / "hashes")
    resolve = resolve_by_content(whole, FolderResolver(folders), memo, bar)
    spec = replace(spec_from_recipe(whole, resolve), components="diffusion")
    return analyze_set(spec, rank_samples=0, cache=cache, progress=bar)


def _show(
    study: Study, scoring: _Scoring, output: Path | None, report: Path | None, *, as_json: bool
) -> int:
    from ..report.tune_text import tune_report
    from ..tune.proposal import best_recipe
    from ..tune.results import balanced

    trials, best = study.finished(), study.best()
    text = tune_report(study, scoring.start(study.plan.recipe))
    chosen = None
    if best:
        one = balanced(best, study.plan.directions)
        tried = study.trial(one.number).recipe
        chosen = best_recipe(study.plan, one, tried, len(trials), scoring.kept(tried))
    if output is not None and chosen is not None:
        write_text(output, dumps(chosen) + "\n")
    if report is not None:
        _write_report(study, trials, text, report)
    if as_json:
        echo_json(
            {
                "study": study.name,
                "scores": [list(score) for score in study.plan.scores],
                "counts": study.counts(),
                "best": [trial.to_json() for trial in best],
                "recipe": None if chosen is None else to_json(chosen),
            }
        )
    else:
        click.echo(text)
        if output is not None and chosen is not None:
            click.echo(f"Wrote {output.name}")
    return 0 if best else 1


def _write_report(study: Study, trials: list[Finished], text: str, folder: Path) -> None:
    write_text(folder / "tune.md", text)
    try:
        from matplotlib.image import imsave
    except ImportError:
        click.echo("No pictures: install matplotlib for them.", err=True)
        return
    from ..report.tune_plots import front_picture, history_picture, importance_picture

    imsave(folder / "history.png", history_picture(study.plan, trials))
    imsave(folder / "importance.png", importance_picture(study.plan, trials))
    if len(study.plan.scores) > 1:
        imsave(folder / "front.png", front_picture(study.plan, trials))
