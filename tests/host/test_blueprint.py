"""The subgraph blueprint: complete, of today's schema, and served by the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.support.blueprint import NAME, blueprint
from scripts.support.comfy_host import ComfyHost

pytestmark = pytest.mark.host

FILE = Path(__file__).parents[2] / "subgraphs" / f"{NAME}.json"


def saved() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def test_it_is_one_node_over_the_whole_chain():
    whole = saved()
    (outer,) = whole["nodes"]
    (inner,) = whole["definitions"]["subgraphs"]
    assert outer["type"] == inner["id"] and inner["name"] == NAME
    assert [node["type"] for node in inner["nodes"]] == [
        "OrthoModelSet",
        "DeltaGramAnalyzer",
        "DeltaBaseOptimizer",
        "OrthoMixer",
        "OrthoMergeExecute",
    ]
    assert [output["name"] for output in outer["outputs"]] == ["MODEL", "recipe", "report"]
    shown = {name for _, name in outer["properties"]["proxyWidgets"]}
    assert shown == {"base", "models", "method", "table", "strength"}


def test_it_is_what_the_nodes_of_today_give(comfy: ComfyHost):
    made = blueprint(comfy.get("/object_info"))
    kinds = [node["type"] for node in made["definitions"]["subgraphs"][0]["nodes"]]
    names = [len(node["inputs"]) for node in made["definitions"]["subgraphs"][0]["nodes"]]
    inner = saved()["definitions"]["subgraphs"][0]["nodes"]
    assert [node["type"] for node in inner] == kinds
    assert [len(node["inputs"]) for node in inner] == names


def test_the_host_serves_it(comfy: ComfyHost):
    offered = comfy.get("/global_subgraphs")
    ours = {key: entry for key, entry in offered.items() if entry["name"] == NAME}
    assert len(ours) == 1
    (key,) = ours
    assert json.loads(comfy.get(f"/global_subgraphs/{key}")["data"]) == saved()
