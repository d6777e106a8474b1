"""`.mecha` texts of others: what a table holds gives their tensors, the rest is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orthomerge_core import mecha
from orthomerge_core.errors import RecipeError
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from tests.core.mecha_family import SHAPES, write_models

sd_mecha = pytest.importorskip("sd_mecha")
pytestmark = pytest.mark.filterwarnings("ignore")  # sd-mecha and tqdm warn about their own things

Models = dict[str, Any]


def add(*arguments: Any, **options: Any) -> Any:
    return sd_mecha.extensions.merge_methods.resolve("add_difference")(*arguments, **options)


def own(name: str, *arguments: Any) -> Any:
    return sd_mecha.extensions.merge_methods.resolve(name)(*arguments)


def deltas(m: Models) -> list[Any]:
    return [sd_mecha.subtract(m[name], m["base"]) for name in ("detail", "style")]


FORMS: dict[str, tuple[Callable[[Models], Any], str]] = {
    "a model": (lambda m: m["base"], "task_arithmetic"),
    "weighted_sum": (
        lambda m: sd_mecha.weighted_sum(m["base"], m["detail"], alpha=0.3),
        "task_arithmetic",
    ),
    "weighted_sum of what lacks keys": (
        lambda m: sd_mecha.weighted_sum(m["base"], m["flash"] | m["base"], alpha=0.3),
        "task_arithmetic",
    ),
    "weighted_sum of weighted sums": (
        lambda m: sd_mecha.weighted_sum(
            sd_mecha.weighted_sum(m["base"], m["detail"], alpha=0.3),
            sd_mecha.weighted_sum(m["style"], m["detail"], alpha=0.1),
            alpha=0.5,
        ),
        "task_arithmetic",
    ),
    "n_average": (
        lambda m: sd_mecha.n_average(m["base"], m["detail"], m["style"]),
        "task_arithmetic",
    ),
    "add_difference": (
        lambda m: add(m["base"], sd_mecha.subtract(m["detail"], m["style"]), alpha=0.4),
        "task_arithmetic",
    ),
    "two differences": (
        lambda m: add(add(m["base"], deltas(m)[0], alpha=0.4), deltas(m)[1], alpha=-0.5),
        "task_arithmetic",
    ),
    "difference of a merge": (
        lambda m: add(
            m["base"],
            sd_mecha.subtract(sd_mecha.weighted_sum(m["detail"], m["style"], alpha=0.5), m["base"]),
        ),
        "task_arithmetic",
    ),
    "scaled difference": (
        lambda m: add(m["base"], own("scale", deltas(m)[0], 0.25), alpha=2.0),
        "task_arithmetic",
    ),
    "mean difference": (
        lambda m: add(m["base"], sd_mecha.n_average(*deltas(m)), alpha=0.8),
        "task_arithmetic",
    ),
    "base minus a model": (
        lambda m: add(m["base"], sd_mecha.subtract(m["base"], m["detail"]), alpha=0.4),
        "task_arithmetic",
    ),
    "slerp": (lambda m: sd_mecha.slerp(m["base"], m["detail"], alpha=0.3), "slerp"),
    "ties_sum": (
        lambda m: add(m["base"], sd_mecha.ties_sum(*deltas(m), k=0.5, vote_sgn=True), alpha=0.7),
        "ties",
    ),
    # Ours keeps the ratio within -1..1, so the two are one where the deltas point the same way.
    "model_stock": (
        lambda m: add(m["base"], sd_mecha.model_stock(deltas(m)[0], deltas(m)[0])),
        "model_stock",
    ),
    "geometric_median": (
        lambda m: add(m["base"], sd_mecha.geometric_median(*deltas(m), maxiter=20)),
        "geometric_median",
    ),
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    """The family as sd-mecha's nodes, its files in a folder that sd-mecha looks in."""
    write_models(tmp_path)
    monkeypatch.setattr(sd_mecha.extensions.model_dirs, "_registry", [tmp_path])
    config = mecha.register_config(tmp_path / "base.safetensors")
    names = ("base", "detail", "flash", "style")
    return {name: sd_mecha.model(f"{name}.safetensors", config) for name in names}


@pytest.mark.parametrize("name", list(FORMS))
def test_what_maps_gives_the_tensors_that_sd_mecha_gives(models: Models, tmp_path: Path, name: str):
    make, method = FORMS[name]
    graph = make(models)
    recipe = mecha.recipe_from_text(sd_mecha.serialize(graph, finalize=False))
    assert recipe.method == method and recipe.base == "base.safetensors"
    theirs = sd_mecha.merge(graph, output_dtype=torch.float32)
    theirs.pop("__metadata__", None)
    spec = spec_from_recipe(recipe, FolderResolver([tmp_path]))
    with plan_merge(recipe, spec, output_dtype="fp32") as plan:
        merged = run_merge(plan)
    assert merged.state_dict.keys() == theirs.keys() == SHAPES.keys()
    for key, ours in merged.state_dict.items():
        torch.testing.assert_close(ours, theirs[key].reshape(ours.shape), rtol=1e-6, atol=1e-6)


REFUSED: dict[str, tuple[Callable[[Models], Any], str]] = {
    "another method": (
        lambda m: sd_mecha.add_cosine_a(m["base"], m["detail"], alpha=0.5),
        "uses add_cosine_a, which has no place in a table of rows: expected only orthomerge_studio",
    ),
    "random masks": (
        lambda m: add(m["base"], own("dropout", deltas(m)[0], 0.5)),
        "uses dropout, whose random masks sd-mecha draws in its own way",
    ),
    "DELLA": (
        lambda m: add(m["base"], sd_mecha.ties_sum_with_dropout(*deltas(m))),
        "uses ties_sum_with_dropout, whose random masks",
    ),
    "options that we lack": (
        lambda m: add(m["base"], sd_mecha.model_stock(*deltas(m), cos_eps=0.1)),
        'uses model_stock with its own "cos_eps", which has no place',
    ),
    "ties beside another change": (
        lambda m: add(add(m["base"], deltas(m)[0]), sd_mecha.ties_sum(*deltas(m))),
        "uses ties_sum beside other changes",
    ),
    "ties of merges": (
        lambda m: add(m["base"], sd_mecha.ties_sum(sd_mecha.n_average(*deltas(m)))),
        "uses ties_sum of merges",
    ),
    "slerp within a sum": (
        lambda m: sd_mecha.weighted_sum(
            m["base"], sd_mecha.slerp(m["base"], m["detail"], alpha=0.5), alpha=0.5
        ),
        "uses slerp, which has no place",
    ),
    "block weights": (
        lambda m: sd_mecha.weighted_sum(m["base"], m["detail"], alpha={"final.scale": 0.2}),
        "uses a value that differs from key to key",
    ),
    "alpha beyond the table": (
        lambda m: add(m["base"], deltas(m)[0], alpha=7.0),
        "row 1, alpha: expected a finite number in -5..5, received 7.0",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_does_not_map_is_refused_with_its_reason(models: Models, name: str):
    make, says = REFUSED[name]
    text = sd_mecha.serialize(make(models), finalize=False)
    with pytest.raises(RecipeError) as caught:
        mecha.recipe_from_text(text)
    assert says in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_path_in_the_text_becomes_a_name():
    """ComfyUI packs around sd-mecha write full paths; a recipe holds none."""
    text = "\n".join(
        [
            "version 0.1.0",
            'model "/somebody/models/a.safetensors" model_config="sdxl-sgm" merge_space="weight"',
            'model "C:\\\\models\\\\b.safetensors" model_config="sdxl-sgm" merge_space="weight"',
            "dict key=0.5",
            'literal &2 model_config="singleton-mecha" merge_space=null',
            'merge "convert_singleton" &3',
            'merge "weighted_sum" &0 &1 &4',
        ]
    )
    recipe = mecha.recipe_from_text(text)
    assert recipe.base == "a.safetensors"
    assert [ref.file for ref in recipe.models.values()] == ["b.safetensors"]


def test_texts_of_older_releases_are_refused_by_their_first_line():
    for old in ('model "a.safetensors" sdxl', "dict\nmerge weighted_sum &0 &1 alpha=0.5"):
        with pytest.raises(RecipeError, match=r'no \.mecha recipe: expected "version'):
            mecha.recipe_from_text(old)


def mecha_text(*lines: str) -> str:
    models = [f'model "{n}.safetensors" model_config="x" merge_space="weight"' for n in "abc"]
    return "\n".join(["version 0.1.0", *models, *lines])


def doubling(count: int) -> str:
    """Each line uses the one before it twice."""
    lines = [f'merge "weighted_sum" &{n} &{n} 0.5' for n in range(2, 2 + count)]
    return mecha_text(*lines)


def test_a_step_is_evaluated_once_whatever_refers_to_it(monkeypatch):
    from orthomerge_core.mecha import imports

    calls = []
    once = imports._Reader._evaluate

    def counted(self: Any, step: Any) -> Any:
        calls.append(step)
        return once(self, step)

    monkeypatch.setattr(imports._Reader, "_evaluate", counted)
    for count in (18, 180):
        calls.clear()
        recipe = mecha.recipe_from_text(doubling(count))
        assert recipe.base == "c.safetensors" and not recipe.rows
        assert len(calls) == count + 1  # and c; neither a nor b, which nothing needs


def test_a_long_chain_is_read_without_recursion():
    lines = []
    for step in range(2000):  # two lines each, from line 3 on
        onto = 2 if step == 0 else 2 + 2 * step
        lines += [f'merge "subtract" &{step % 2} &2']
        lines += [f'merge "add_difference" &{onto} &{3 + 2 * step} 0.001']
    recipe = mecha.recipe_from_text(mecha_text(*lines))
    assert recipe.base == "c.safetensors"
    assert [(r.model, round(r.alpha, 9)) for r in recipe.rows] == [("a", 1.0), ("b", 1.0)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version 0.1.0\n" + "#" * 1_000_001, "too many characters: expected at most 1000000"),
        (
            "version 0.1.0\n" + 'model "a"\n' * 10_001,
            "too many lines: expected at most 10000, received 10001",
        ),
        (mecha_text('merge "n_average"' + " &0" * 40_001), "too many arguments"),
        (mecha_text('merge "subtract" &7 &0'), "line 5 of this .mecha recipe cannot be read"),
        (mecha_text('merge "subtract" &x &0'), "expected a number, a text or a reference"),
        (mecha_text("merge"), "expected a name after merge, received none"),
        (mecha_text("pickle x"), 'one of dict, literal, model, merge, received "pickle"'),
        (mecha_text('merge "subtract" &0'), "calls subtract with other arguments than it has"),
        (mecha_text('merge "subtract" &0 &1 &2'), "expected a, b, received 3 arguments"),
        (mecha_text('merge "subtract" &0 &1 c=&2'), "expected a, b, received c"),
        (mecha_text('merge "subtract" &0 &1'), "uses a difference, which has no place"),
        (mecha_text('merge "weighted_sum" &0 &1 "x"'), "uses a text where a number belongs"),
        (mecha_text('merge "weighted_sum" &0 &1 1' + "0" * 400), "a number that is not finite"),
        (mecha_text('merge "weighted_sum" &0 &1 1' + "0" * 5000), "a number, a text"),
        (mecha_text('merge "weighted_sum" &0 &1 &2'), "a value that differs from key to key"),
        (mecha_text('merge "weighted_sum" &0 &1 nan'), "a number that is not finite"),
        (mecha_text('merge "orthomerge_studio" recipe="{"'), "recipe is not JSON"),
        (mecha_text('merge "n_average"'), "uses n_average of nothing"),
        ("version 0.1.0", "has no line after its version"),
        ("", 'expected "version …" in the first line, received nothing'),
    ],
)
def test_broken_texts_are_refused_by_name(text: str, says: str):
    with pytest.raises(RecipeError) as caught:
        mecha.recipe_from_text(text)
    assert says in str(caught.value)


def test_more_rows_than_a_table_holds_end_while_they_are_made():
    models = [f'model "m{n}" model_config="x" merge_space="weight"' for n in range(300)]
    text = "\n".join(
        ["version 0.1.0", *models, 'merge "n_average"' + "".join(f" &{n}" for n in range(300))]
    )
    with pytest.raises(RecipeError, match="says more than a table holds: expected at most 256"):
        mecha.recipe_from_text(text)


def test_names_and_defaults_are_those_of_sd_mecha():
    import inspect

    from orthomerge_core.mecha.values import PARAMETERS

    for name, ours in PARAMETERS.items():
        if name == mecha.METHOD:
            continue
        method = sd_mecha.extensions.merge_methods.resolve(name)
        signature = method._MergeMethod__f_signature
        theirs = {
            p.name: None if p.default is inspect.Parameter.empty else p.default
            for p in signature.parameters.values()
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        assert dict(ours) == theirs, name


def test_ties_within_a_sum_has_no_place(models: Models):
    inner = add(models["base"], sd_mecha.ties_sum(*deltas(models)))
    graph = sd_mecha.weighted_sum(inner, models["flash"] | models["base"], alpha=0.5)
    with pytest.raises(RecipeError, match="uses ties within other changes"):
        mecha.recipe_from_text(sd_mecha.serialize(graph, finalize=False))
