"""Every shipped workflow runs: posted to the API, and through the shell's `preview`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orthomerge_core.cli.app import run
from scripts.support.comfy_host import ComfyHost
from tests.host.graphs import pixels

pytestmark = pytest.mark.host

FOLDER = Path(__file__).parents[2] / "example_workflows" / "api"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def images_of(graph: dict[str, Any]) -> list[str]:
    return [key for key, node in graph.items() if node["class_type"] == "SaveImage"]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_to_a_picture_from_the_api_and_from_the_shell(
    comfy: ComfyHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    graph = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    entry = comfy.prompt(graph)
    nodes = images_of(graph)
    assert nodes
    for node in nodes:
        assert pixels(comfy, entry, node).std() > 5
    command = ["preview", str(FOLDER / f"{name}.json"), "--api", comfy.url]
    with pytest.raises(SystemExit) as left:
        run([*command, "-o", str(tmp_path), "--json", "--quiet"])
    assert left.value.code == 0
    saved = json.loads(capsys.readouterr().out)["images"]
    assert len(saved) >= len(nodes)
    assert all((tmp_path / image).stat().st_size for image in saved)


def test_together_they_use_every_node_of_the_pack(comfy: ComfyHost):
    ours = {
        name
        for name, node in comfy.get("/object_info").items()
        if node["category"].startswith("OrthoMerge")
    }
    studio = json.loads((FOLDER / "full_studio.json").read_text(encoding="utf-8"))
    assert ours <= {node["class_type"] for node in studio.values()}
