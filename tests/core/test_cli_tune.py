"""`tune` and `grid` from the shell, without ComfyUI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.core.test_cli import models, shell, write_recipe

__all__ = ["models", "shell"]  # fixtures


def tuned_alphas(path: str) -> list[float]:
    return [row["alpha"] for row in json.loads(Path(path).read_text())["rows"]]


def test_a_search_by_forecast_writes_a_better_recipe_with_reasons_and_pictures(shell, models):
    write_recipe(models)
    words = ("tune", "models/recipe.json", "--param", "each.alpha=0:1.5", "--trials", "30")
    code, out, err = shell(*words, "-o", "best.json", "--report", "report", "-q")
    assert code == 0, err
    assert "Wrote best.json" in out and "30 trials complete" in out
    best = json.loads(Path("best.json").read_text())
    assert all("forecast" not in row["info"] or row["info"] for row in best["rows"])
    assert "in 0..1.5" in best["rows"][0]["info"] and "keeps" in best["rows"][0]["info"]
    assert {p.name for p in Path("report").iterdir()} == {
        "tune.md",
        "history.png",
        "importance.png",
    }
    code, out, _ = shell("tune", "models/recipe.json", *words[2:], "--json", "-q")
    assert [row["alpha"] for row in json.loads(out)["recipe"]["rows"]] == tuned_alphas("best.json")


def test_a_named_study_continues_and_another_search_under_its_name_is_refused(shell, models):
    write_recipe(models)
    words = ("tune", "models/recipe.json", "--param", "each.alpha=0:1.5", "--study", "mine", "-q")
    assert shell(*words, "--trials", "5")[0] == 0
    code, out, _ = shell(*words, "--trials", "8", "--json")
    assert code == 0 and json.loads(out)["counts"] == {"complete": 8, "running": 0, "fail": 0}
    assert Path("cache/studies/studies.sqlite").exists()
    code, _, err = shell(*words[:2], "--param", "alpha=0:1", *words[4:])
    assert code == 1 and 'the study "mine" searches something else: other parameters' in err


def test_several_scores_give_a_front(shell, models):
    write_recipe(models)
    words = ("tune", "models/recipe.json", "--param", "each.alpha=0:1.5", "--trials", "30", "-q")
    code, out, _ = shell(*words, "--score", "mean", "--score", "drift", "--json", "--report", "r")
    assert code == 0 and len(json.loads(out)["best"]) > 2
    assert Path("r/front.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--param", "alhpa=0:1"], 'parameter: nothing is called "alhpa"'),
        (["--param", "alpha=0:1", "--score", "wekest"], 'nothing is called "wekest"'),
        (["--param", "alpha=0:1", "--sampler", "tpee"], 'sampler "tpee"'),
    ],
)
def test_what_is_wrong_is_named(shell, models, words, message):
    write_recipe(models)
    code, _, err = shell("tune", "models/recipe.json", *words, "-q")
    assert code == 1 and message in err


def test_a_grid_without_a_workflow_is_a_recipe_per_cell(shell, models):
    write_recipe(models)
    code, out, _ = shell(
        "grid", "models/recipe.json", "--axis", "alpha=0,1", "--axis", "method=each", "-o", "g"
    )
    assert code == 0 and "recipes" in out
    files = sorted(Path("g").iterdir())
    assert len(files) == 2 * len({json.loads(f.read_text())["method"] for f in files})
    assert files[0].name.startswith("001 alpha ")
