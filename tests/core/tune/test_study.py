from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from orthomerge_core.errors import FileError, RecipeError, UnsupportedError
from orthomerge_core.tune.search import search
from orthomerge_core.tune.storage import MEMORY, Storage, is_alive, storage_url, worker_name
from orthomerge_core.tune.study import Plan, Study
from tests.core.tune.small import plan, recipe, scorer

ROOT = Path(__file__).resolve().parents[3]


def studied(url: str, of: Plan, trials: int, name: str = "s") -> Study:
    score = scorer(of)
    study = Study(Storage(url), name, of)
    search(study, lambda trial: score(trial.recipe), trials)
    return study


def values(study: Study) -> list[dict]:
    return [trial.values for trial in study.finished()]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_the_seed_decides_every_trial(sampler: str):
    first = studied(MEMORY, plan(sampler=sampler, seed=3), 14)
    again = studied(MEMORY, plan(sampler=sampler, seed=3), 14)
    other = studied(MEMORY, plan(sampler=sampler, seed=4), 14)
    assert values(first) == values(again) != values(other)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_search_finds_better_than_the_recipe_as_it_was(sampler: str):
    chosen = plan(sampler=sampler, seed=1)
    study = studied(MEMORY, chosen, 60)
    start = scorer(chosen)(chosen.recipe)[0]
    best = study.best()
    assert len(best) == 1
    assert best[0].scores[0] < 0.3 * start
    assert best[0].scores[0] == min(trial.scores[0] for trial in study.finished())


def test_two_scores_give_a_front_by_nsga2():
    study = studied(MEMORY, plan("mean", "drift", seed=1), 40)
    best = study.best()
    assert len(best) >= 5
    ranked = sorted(trial.scores for trial in best)
    assert all(a[1] < b[1] for a, b in pairwise(ranked))


def test_every_kind_of_parameter_is_searched():
    chosen = plan(
        parameters=(
            "method = average, task_arithmetic, orthogonal_projection",
            "ink.alpha = 0.1:2:log",
            "paint.alpha = 0:1:0.25",
            "ink.repeat = 1:3",
            "photo.on = off, on",
            "ink.delta_from = each",
        )
    )
    study = studied(MEMORY, chosen, 25)
    found = values(study)
    assert {v["paint alpha"] for v in found} <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert all(0.1 <= v["ink alpha"] <= 2 for v in found)
    assert {v["ink repeat"] for v in found} <= {1, 2, 3}
    assert len({v["method"] for v in found}) > 1
    for trial in study.finished():
        assert study.trial(trial.number).recipe.method == trial.values["method"]


def test_a_study_continues_in_its_file_as_if_it_had_not_stopped(tmp_path: Path):
    url = storage_url("", tmp_path)
    whole = studied(MEMORY, plan(seed=5), 12)
    studied(url, plan(seed=5), 5)
    assert values(studied(url, plan(seed=5), 12)) == values(whole)


KILLED = """
import os, sys
sys.path.insert(0, {root!r})
from tests.core.tune.small import plan, scorer
from orthomerge_core.tune.search import search
from orthomerge_core.tune.storage import Storage
from orthomerge_core.tune.study import Study
chosen = plan(seed=5)
score, count = scorer(chosen), 0
def evaluate(trial):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), 9)
    return score(trial.recipe)
search(Study(Storage({url!r}), "s", chosen), evaluate, 12)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_search_that_was_killed_tries_its_last_trial_again_and_loses_none(tmp_path: Path):
    url = storage_url("", tmp_path)
    code = KILLED.format(root=str(ROOT), url=url)
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120)
    assert killed.returncode == -9
    study = Study(Storage(url), "s", plan(seed=5))
    assert study.counts() == {"complete": 3, "running": 1, "fail": 0}
    found = values(studied(url, plan(seed=5), 12))
    assert found == values(studied(MEMORY, plan(seed=5), 12))


def test_two_processes_share_a_study_without_making_a_trial_twice(tmp_path: Path):
    url = storage_url("", tmp_path)
    code = KILLED.replace("count == 4", "False").format(root=str(ROOT), url=url)
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=180) for process in both] == [0, 0]
    found = Study(Storage(url), "s", plan(seed=5)).finished()
    assert len(found) in (12, 13)  # the second one may have been at work on its last
    assert len({tuple(trial.values.values()) for trial in found}) == len(found)


def test_what_this_process_asked_and_never_told_comes_again_three_times_at_most():
    study = Study(Storage(MEMORY), "s", plan())
    numbers = [study.ask().number for _ in range(5)]
    assert numbers == [0, 0, 0, 1, 1]
    assert study.counts() == {"complete": 0, "running": 1, "fail": 1}


def test_telling_twice_changes_nothing_and_a_score_that_is_no_number_fails():
    study = Study(Storage(MEMORY), "s", plan())
    trial = study.ask()
    assert study.tell(trial.number, [0.5])
    assert not study.tell(trial.number, [0.1])
    assert study.finished()[0].scores == (0.5,)
    second = study.ask()
    assert study.tell(second.number, [float("nan")])
    assert study.counts() == {"complete": 1, "running": 0, "fail": 1}
    with pytest.raises(RecipeError, match="expected 1, received 2"):
        study.tell(0, [1.0, 2.0])
    with pytest.raises(RecipeError, match="has no trial 9"):
        study.tell(9, [1.0])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (plan(parameters=("ink.alpha = 0:1",)), "other parameters"),
        (plan("equal"), "other scores"),
        (plan(mode="rate"), "another mode"),
        (Plan(recipe("average"), plan().parameters, plan().scores), "another recipe"),
    ],
)
def test_another_search_under_the_same_name_is_refused(other: Plan, words: str):
    storage = Storage(MEMORY)
    Study(storage, "s", plan())
    with pytest.raises(RecipeError) as caught:
        Study(storage, "s", other)
    assert words in str(caught.value) and "Choose another name" in str(caught.value)
    Study(storage, "t", other)


def test_samplers_that_cannot_do_it_say_so():
    with pytest.raises(RecipeError, match=r'sampler "tpee"\. Did you mean "tpe"'):
        Study(Storage(MEMORY), "s", plan(sampler="tpee"))
    words = "sampler cmaes searches ranges of numbers for one score"
    with pytest.raises(RecipeError, match=words):
        Study(Storage(MEMORY), "s", plan(parameters=("method = average, ties",), sampler="cmaes"))
    with pytest.raises(RecipeError, match=words):
        Study(Storage(MEMORY), "s", plan("mean", "drift", sampler="cmaes"))


def test_choices_between_pairs_become_strengths_and_lead_the_search():
    chosen = plan(parameters=("ink.alpha = 0:1",), mode="rate", seed=2)
    storage = Storage(MEMORY)
    study = Study(storage, "s", chosen)
    assert study.rating is not None
    champion = None
    for _ in range(25):
        trial = study.ask()
        study.tell(trial.number, [0.0])
        if champion is not None:
            pair = study.rating.show(champion.number, trial.number)
            gaps = [abs(t.values["ink alpha"] - 0.8) for t in (champion, trial)]
            choice = "left" if gaps[0] <= gaps[1] else "right"
            assert study.rating.judge(pair.number, choice)
            champion = trial if choice == "right" else champion
        champion = champion or trial
    best = study.best()[0]
    assert abs(best.values["ink alpha"] - 0.8) < 0.15
    late = [v["ink alpha"] for v in values(study)[-8:]]
    assert sum(abs(x - 0.8) < 0.25 for x in late) >= 4  # it tries more of what was preferred
    assert values(Study(storage, "s", chosen)) == values(study)


def test_an_answer_stays_and_pairs_that_were_not_shown_are_named():
    study = Study(Storage(MEMORY), "s", plan(mode="rate"))
    assert study.rating is not None
    pair = study.rating.show(0, 1)
    assert study.rating.judge(pair.number, "neither")
    assert not study.rating.judge(pair.number, "left")
    assert study.rating.pairs()[0].choice == "neither"
    with pytest.raises(RecipeError, match="has shown no pair 7"):
        study.rating.judge(7, "left")
    with pytest.raises(RecipeError, match='expected one of left, right, neither, received "both"'):
        study.rating.judge(0, "both")


def test_where_studies_lie(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("ORTHOMERGE_STUDIES", raising=False)
    assert storage_url("", tmp_path / "a").endswith("/a/studies.sqlite")
    assert (tmp_path / "a").is_dir()
    assert storage_url("postgresql://u:p@h/d", tmp_path) == "postgresql://u:p@h/d"
    monkeypatch.setenv("ORTHOMERGE_STUDIES", "sqlite:///x.db")
    assert storage_url("", tmp_path) == "sqlite:///x.db"


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path):
    with pytest.raises(FileError) as caught:
        Storage("nonsense://me:secret@host/db")
    assert "nonsense://host/db" in str(caught.value) and "secret" not in str(caught.value)
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"this is no database, but long enough to be looked at" * 20)
    with pytest.raises(FileError, match="studies in") as caught:
        Storage(f"sqlite:///{broken}")
    assert str(tmp_path) not in str(caught.value)


def test_a_dead_process_is_told_from_a_living_one():
    assert is_alive(worker_name())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = worker_name().rpartition(":")[0]
    assert not is_alive(f"{host}:{ended.pid}")
    assert is_alive(f"another-machine:{os.getpid()}")


def test_without_optuna_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UnsupportedError, match="pip install optuna cmaes"):
        Storage(MEMORY)


def test_without_cmaes_the_error_names_it(monkeypatch):
    study = Study(Storage(MEMORY), "s", plan(sampler="cmaes"))
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(UnsupportedError, match="pip install cmaes"):
        study.ask()
