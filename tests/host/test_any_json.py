"""Every JSON type at every input of every node: refused by name, or taken; the server goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.support.comfy_host import ApiError, ComfyHost, PromptError
from tests.host.graphs import base_name, family_files, merge_graph

pytestmark = pytest.mark.host

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "one": 1,
    "fraction": 1.5,
    "huge": 10**400,
    "empty": "",
    "word": "no such thing",
    "control": "a\x00b",
    "object": {},
    "full object": {"a": [1]},
    "list": [],
}


CORE = ("EmptyImage", "PreviewAny")


def nodes_graph() -> dict[str, Any]:
    """One node of each class, connected; sampler and pictures are left out."""
    files = family_files()[:2]
    graph = merge_graph(files, method="average")

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    recipe = {"base": base_name(), "models": {"a": files[0]}, "rows": [{"model": "a"}]}
    return graph | {
        "fix": node("CompatibilityFix", models=["set", 0]),
        "analyzer": node("DeltaGramAnalyzer", models=["set", 0], rank_samples=1),
        "optimizer": node("DeltaBaseOptimizer", analysis=["analyzer", 0]),
        "execute": node("OrthoMergeExecute", recipe=["mixer", 0]),
        "file": node("OrthoMergeSave", recipe=["mixer", 0], dry_run=True),
        "text": node("OrthoRecipe", json=json.dumps(recipe | {"method": "average"})),
        "pick": node("OrthoPickModel", models=["set", 0], name="base"),
        "add": node("OrthoAddModel", models=["set", 0], model=["pick", 0], name="live"),
        "lora": node("OrthoExtractLoRA", models=["set", 0], name="ink", max_rank=1),
        "grid": node("OrthoGrid", recipe=["mixer", 0], columns="strength = 1"),
        "sheet": node("OrthoGridPicture", images=["image", 0], grid=["grid", 1]),
        "tune": node("OrthoTune", recipe=["mixer", 0], study="any json", trials=1000),
        "result": node("OrthoTuneResult", trial=["tune", 1], score=["score", 0]),
        "score": node("OrthoPictureScore", images=["image", 0], reference=["image", 0]),
        "image": node("EmptyImage", width=64, height=64, batch_size=2, color=0),
        # what is no output by itself runs where something shows it
        "shown": node("PreviewAny", source=["set", 0]),
    }


OURS = [name for name, node in nodes_graph().items() if node["class_type"] not in CORE]


def outcome(comfy: ComfyHost, graph: dict[str, Any], target: str) -> str:
    """What came of a prompt that shows the target's output, after the checks that hold for each."""
    graph["shown"]["inputs"]["source"] = [target, 0]
    try:
        body: Any = comfy.prompt(graph, ["shown"], timeout_s=120)
        kind = "done"
    except ApiError as error:
        assert error.status == 400, error
        body, kind = error.body, "refused"
    except PromptError as error:
        body, kind = error.entry, "failed"
        event = error.entry["status"]["messages"][-1][1]
        assert event["exception_type"].startswith("orthomerge."), event
        assert "\n" not in event["exception_message"].strip().replace("\n  - ", "")
    text = json.dumps(body)
    assert str(comfy.base_dir) not in text and "Traceback" not in text
    assert "NaN" not in text and "Infinity" not in text
    return kind


@pytest.mark.parametrize("target", OURS)
def test_any_value_at_any_input(comfy: ComfyHost, target: str):
    kind = nodes_graph()[target]["class_type"]
    info = comfy.get(f"/object_info/{kind}")[kind]["input"]
    inputs = [*info.get("required", {}), *info.get("optional", {})]
    assert inputs
    for name in inputs:
        for label, value in VALUES.items():
            graph = nodes_graph()
            if kind == "OrthoMergeExecute":
                graph[target]["inputs"]["dry_run"] = True
            graph[target]["inputs"][name] = value
            try:
                outcome(comfy, graph, target)
            except AssertionError as error:
                raise AssertionError(f"{kind}.{name} = {label}: {error}") from error
    assert outcome(comfy, nodes_graph(), target) == "done"


@pytest.mark.parametrize(
    "prefix", ["None", "{}", "a\x00b", "a/None", "x" * 201, "a//b", "a?b", "é" * 101]
)
def test_a_prefix_that_is_no_name_is_refused(comfy: ComfyHost, prefix: str):
    graph = nodes_graph()
    graph["file"]["inputs"] |= {"filename_prefix": prefix, "dry_run": False}
    with pytest.raises(PromptError) as caught:
        comfy.prompt(graph, ["file"])
    assert 'filename prefix "' in caught.value.message
    assert not list((comfy.base_dir / "output").rglob("*None*"))
