"""A study on real hosts: one trial per queued run, two servers at once, people's choices."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.support import env
from scripts.support.comfy_host import ComfyHost, PromptError
from scripts.support.family import make_family
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def tune_graph(study: str, **inputs: Any) -> dict[str, Any]:
    """Set → mixer → tune → merge → KSampler, scored against the picture of the first model."""
    graph = merge_graph(family_files()[:2], method="task_arithmetic")
    graph["tune"] = node(
        "OrthoTune", recipe=["mixer", 0], parameters="each.alpha = 0:1", study=study, **inputs
    )
    graph["merge"] = node("OrthoMergeExecute", recipe=["tune", 0])
    graph |= sampler(["merge", 0])
    graph["pick"] = node("OrthoPickModel", models=["set", 0], name="ink")
    graph |= sampler(["pick", 0], prefix="ink_")
    graph["alike"] = node("OrthoPictureScore", images=["decode", 0], reference=["ink_decode", 0])
    graph["result"] = node(
        "OrthoTuneResult", trial=["tune", 1], score=["alike", 0], recipe=["tune", 0]
    )
    graph["best"] = node("OrthoRecipe", recipe=["result", 0])
    return graph


def counts(entry: dict[str, Any]) -> dict[str, int]:
    return payload(entry, "result")["counts"]


def test_every_queued_run_is_a_trial_and_the_rest_of_the_graph_stays_cached(comfy: ComfyHost):
    graph = tune_graph("runs", trials=3)
    runs = [comfy.queue(graph) for _ in range(4)]
    entries = [comfy.result(run) for run in runs]
    assert [counts(entry)["complete"] for entry in entries] == [1, 2, 3, 3]
    labels = [entry["outputs"]["tune"]["orthomerge"][0]["text"] for entry in entries]
    assert len(set(labels)) == 4 and labels[3].startswith("best of 3, trial ")
    for entry in entries[1:]:
        assert {"set", "mixer", "ink_steps", "ink_decode"} <= comfy.cached_nodes(entry)
    best = payload(entries[3], "best")["text"]
    assert "in 0..1" in best and "score" in best
    assert "Score: score (maximize)" in payload(entries[3], "result")["text"]


def test_scores_are_those_of_the_pictures(comfy: ComfyHost):
    entry = comfy.prompt(tune_graph("same", trials=1))
    again = comfy.prompt(tune_graph("same", trials=1))
    assert np.array_equal(pixels(comfy, entry, "save"), pixels(comfy, again, "save"))
    said = payload(entry, "alike")["text"]
    assert said == payload(again, "alike")["text"]
    assert 0.0 < float(said.split()[1].strip(",")) < 1.0


def test_a_person_chooses_between_pairs(comfy: ComfyHost):
    graph = tune_graph("rated", mode="rate")
    graph["result"]["inputs"] |= {"images": ["decode", 0]}
    del graph["result"]["inputs"]["score"], graph["best"]
    first = comfy.prompt(graph)
    assert "pair" not in payload(first, "result")
    second = payload(comfy.prompt(graph), "result")
    assert second["pair"] == 0 and '"0 left"' in second["text"]
    graph["tune"]["inputs"]["choice"] = "0 left"
    third = comfy.prompt(graph)
    assert payload(third, "result")["pair"] == 1
    assert "1 of 2 shown pairs were judged" in payload(third, "result")["text"]
    shown = pixels(comfy, third, "result")
    assert shown.shape == (128, 2 * 128 + 8, 3)
    comfy.prompt(graph)  # the same answer once more judges nothing else
    graph["tune"]["inputs"]["choice"] = "9 left"
    with pytest.raises(PromptError, match="has shown no pair 9"):
        comfy.prompt(graph)


def test_another_search_under_the_same_name_is_refused_before_a_merge(comfy: ComfyHost):
    comfy.prompt(tune_graph("taken", trials=1))
    graph = tune_graph("taken", trials=1)
    graph["tune"]["inputs"]["parameters"] = "ink.alpha = 0:1"
    with pytest.raises(PromptError, match='the study "taken" searches something else'):
        comfy.prompt(graph)


def test_two_servers_work_on_one_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORTHOMERGE_STUDIES", f"sqlite:///{tmp_path / 'shared.sqlite'}")
    comfy_dir, hosts = env.ensure_comfyui(), []
    try:
        for name in ("one", "two"):
            make_family(tmp_path / name / "models")
            hosts.append(ComfyHost(comfy_dir, tmp_path / name).start())
        graph = tune_graph("shared", trials=6)
        found: list[list[dict[str, Any]]] = [[], []]

        def work(number: int) -> None:
            runs = [hosts[number].queue(graph) for _ in range(3)]
            found[number] = [hosts[number].result(run) for run in runs]

        threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        numbers = [payload(entry, "tune")["number"] for entries in found for entry in entries]
        assert sorted(numbers) == [0, 1, 2, 3, 4, 5]
        last = [hosts[number].prompt(graph) for number in (0, 1)]
        assert [counts(entry)["complete"] for entry in last] == [6, 6]
        assert payload(last[0], "tune")["text"] == payload(last[1], "tune")["text"]
    finally:
        for started in hosts:
            started.stop()
