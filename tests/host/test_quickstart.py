"""The shipped quickstart on a real ComfyUI: what runs, and what comes from the cache."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from scripts.support.comfy_host import ComfyHost
from scripts.support.family import FOLDER, PARENTS
from tests.host.graphs import IDS, payload, pixels, quickstart

pytestmark = pytest.mark.host

OURS = (
    "OrthoModelSet",
    "CompatibilityFix",
    "DeltaGramAnalyzer",
    "DeltaBaseOptimizer",
    "OrthoMixer",
    "OrthoMergeExecute",
)
BEFORE_MIXER = {IDS[kind] for kind in OURS[:4]}
EDIT = json.dumps({"version": 1, "rows": [{"model": "photo", "alpha": 0.4, "touched": ["alpha"]}]})


@pytest.fixture(scope="module")
def first_run(comfy: ComfyHost) -> dict:
    return comfy.prompt(quickstart())


def test_image_is_there_and_not_constant(comfy: ComfyHost, first_run: dict):
    image = pixels(comfy, first_run, IDS["SaveImage"])
    assert image.shape == (256, 256, 3)
    assert image.std() > 5


def test_every_node_tells_the_browser(first_run: dict):
    kinds = {kind: payload(first_run, IDS[kind])["kind"] for kind in OURS}
    assert list(kinds.values()) == ["set", "compat", "analysis", "mix", "mix", "merge"]
    for kind in OURS[1:]:
        assert payload(first_run, IDS[kind])["text"]


def test_true_ancestry_and_the_near_duplicate(first_run: dict):
    rows = {row["model"]: row for row in payload(first_run, IDS["OrthoMixer"])["proposal"]}
    assert rows["ink-fine"]["delta_from"] == "ink"
    assert rows["ink"]["delta_from"] == rows["photo"]["delta_from"] == "base"
    pair = [rows["paint"], rows["paint-copy"]]
    assert [row["enabled"] for row in pair].count(False) == 1
    assert set(PARENTS) <= set(rows)


def test_same_prompt_is_answered_from_the_cache(comfy: ComfyHost, first_run: dict):
    again = comfy.prompt(quickstart())
    assert {IDS[kind] for kind in OURS} <= comfy.cached_nodes(again)


def test_table_edit_reruns_the_mixer_and_what_follows(comfy: ComfyHost, first_run: dict):
    edited = comfy.prompt(quickstart(OrthoMixer__table=EDIT))
    cached = comfy.cached_nodes(edited)
    assert cached >= BEFORE_MIXER
    assert not cached & {IDS["OrthoMixer"], IDS["OrthoMergeExecute"], IDS["KSampler"]}
    assert "0.4 · (photo − base)" in payload(edited, IDS["OrthoMixer"])["formula"]
    before, after = (pixels(comfy, run, IDS["SaveImage"]) for run in (first_run, edited))
    assert not np.array_equal(before, after)


def test_touching_a_model_file_reruns(comfy: ComfyHost, first_run: dict):
    path = comfy.base_dir / "models" / "diffusion_models" / FOLDER / "photo.safetensors"
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    touched = comfy.prompt(quickstart())
    assert not comfy.cached_nodes(touched) & {IDS[kind] for kind in OURS}
    same = payload(touched, IDS["OrthoMergeExecute"])["report"]["content_hash"]
    assert same == payload(first_run, IDS["OrthoMergeExecute"])["report"]["content_hash"]


def test_history_shows_no_path_of_the_disk(comfy: ComfyHost, first_run: dict):
    assert str(comfy.base_dir) not in json.dumps(comfy.get("/history"))


def test_analyzer_runs_alone(comfy: ComfyHost):
    graph = quickstart(DeltaGramAnalyzer__rank_samples=2)
    entry = comfy.prompt(graph, targets=[IDS["DeltaGramAnalyzer"]])
    assert IDS["DeltaGramAnalyzer"] in entry["outputs"]
    assert IDS["OrthoMixer"] not in entry["outputs"]
