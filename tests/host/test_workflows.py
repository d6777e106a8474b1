"""The shipped workflows: each loads in the browser and means the same as its API twin."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scripts.support.comfy_host import ComfyHost
from scripts.support.examples import EXAMPLES, file_name

pytestmark = pytest.mark.host

FOLDER = Path(__file__).parents[2] / "example_workflows"
NAMES = [example.name for example in EXAMPLES]
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
TITLE_HEIGHT = 30
NOTE = "MarkdownNote"  # lives in the browser alone


def workflow(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{file_name(name)}.json").read_text(encoding="utf-8"))


def api_twin(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def info(comfy: ComfyHost) -> dict[str, Any]:
    return comfy.get("/object_info")


def to_api(saved: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """What the frontend would post: widgets by their order in the schema, links by number."""
    subgraphs = {s["id"]: s for s in saved.get("definitions", {}).get("subgraphs", [])}
    links = {link[0]: (link[1], link[2]) for link in saved["links"]}
    nodes = {node["id"]: node for node in saved["nodes"]}
    graph = {}

    def source(link: int) -> list[Any]:
        """A link of the outer graph as `/prompt` has it, seen through a subgraph's outputs."""
        number, slot = links[link]
        inner = subgraphs.get(nodes[number]["type"])
        if inner is None:
            return [str(number), slot]
        (end,) = [e for e in inner["links"] if (e["target_id"], e["target_slot"]) == (-20, slot)]
        return [f"{number}:{end['origin_id']}", end["origin_slot"]]

    for node in _real(saved):
        fed = [source(s["link"]) if s.get("link") is not None else None for s in node["inputs"]]
        if node["type"] not in subgraphs:
            graph[str(node["id"])] = _posted(node, fed, info)
            continue
        inner = subgraphs[node["type"]]
        ends = {e["id"]: e for e in inner["links"]}
        for part in _real(inner):
            reached: list[Any] = []
            for slot in part["inputs"]:
                end = ends.get(slot.get("link"))
                if end is None:
                    reached.append(None)
                elif end["origin_id"] == -10:
                    reached.append(fed[end["origin_slot"]])
                else:
                    reached.append([f"{node['id']}:{end['origin_id']}", end["origin_slot"]])
            graph[f"{node['id']}:{part['id']}"] = _posted(part, reached, info)
    return graph


def _posted(node: dict[str, Any], fed: list[Any], info: dict[str, Any]) -> dict[str, Any]:
    """A node as `/prompt` takes it; fed: the link at each of its sockets, or None."""
    inputs: dict[str, Any] = {
        slot["name"]: link for slot, link in zip(node["inputs"], fed, strict=True) if link
    }
    values = iter(node.get("widgets_values", []))
    for name, (kind, options) in _widgets(info[node["type"]]):
        inputs[name] = next(values)
        if options.get("control_after_generate"):
            assert next(values) == "fixed"
        assert kind in WIDGETS or isinstance(kind, list)
    assert next(values, None) is None, f"{node['type']} has more values than widgets"
    return {"class_type": node["type"], "inputs": inputs}


def _real(saved: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in saved["nodes"] if node["type"] != NOTE]


def _widgets(description: dict[str, Any]) -> list[tuple[str, tuple[Any, dict[str, Any]]]]:
    fields = description["input"].get("required", {}) | description["input"].get("optional", {})
    full = {name: (spec[0], spec[1] if len(spec) > 1 else {}) for name, spec in fields.items()}
    return [
        (name, spec)
        for name, spec in full.items()
        if (spec[0] in WIDGETS or isinstance(spec[0], list)) and not spec[1].get("forceInput")
    ]


def test_the_quickstart_is_the_first_file_and_every_file_is_listed():
    files = sorted(path.stem for path in FOLDER.glob("*.json"))
    assert files == [file_name(name) for name in NAMES]
    assert files[0] == "01 Quickstart"
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"| {file} |" in index for file in files)


@pytest.mark.parametrize("name", ["quickstart", "app_mode"])
def test_a_first_view_fits_a_window_at_full_size(name: str):
    saved = workflow(name)
    assert len(saved["nodes"]) <= 8 and saved["extra"]["ds"]["scale"] == 1.0
    left, top = (-x for x in saved["extra"]["ds"]["offset"])
    for node in saved["nodes"]:
        (x, y), (width, height) = node["pos"], node["size"]
        assert left + 60 <= x and x + width <= left + 1600
        assert top + 90 <= y - TITLE_HEIGHT and y + height <= top + 1000


@pytest.mark.parametrize("name", NAMES)
def test_same_as_its_api_twin(name: str, info: dict[str, Any]):
    twin = {
        key: {field: node[field] for field in ("class_type", "inputs")}
        for key, node in api_twin(name).items()
    }
    assert to_api(workflow(name), info) == twin


@pytest.mark.parametrize("name", NAMES)
def test_links_agree_with_the_slots(name: str, info: dict[str, Any]):
    saved = workflow(name)
    nodes = {node["id"]: node for node in saved["nodes"]}
    subgraphs = {s["id"] for s in saved.get("definitions", {}).get("subgraphs", [])}
    for number, source, out, target, into, kind in saved["links"]:
        slot = nodes[source]["outputs"][out]
        assert number in slot["links"] and slot["type"] == kind
        assert nodes[target]["inputs"][into]["link"] == number
        if nodes[source]["type"] not in subgraphs:
            assert info[nodes[source]["type"]]["output"][out] == kind
    for node in _real(saved):
        if node["type"] in subgraphs:
            continue
        known, ours = info[node["type"]]["output"], node["type"].startswith("Ortho")
        kinds = [o["type"] for o in node["outputs"]]
        # newer hosts give SaveImage and its like an output more; the browser adds it on loading
        assert kinds == (known if ours else known[: len(kinds)])


@pytest.mark.parametrize("name", NAMES)
def test_no_node_covers_another(name: str):
    boxes = {}
    for node in workflow(name)["nodes"]:
        (x, y), (width, height) = node["pos"], node["size"]
        boxes[node["id"]] = (x, y - TITLE_HEIGHT, x + width, y + height)
    for (one, a), (two, b) in itertools.combinations(boxes.items(), 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"{one} and {two} overlap"


@pytest.mark.parametrize("name", NAMES)
def test_every_node_lies_in_one_group_and_every_group_is_explained(name: str):
    saved = workflow(name)
    notes = 0
    for group in saved["groups"]:
        inside = [node for node in saved["nodes"] if _inside(node, group["bounding"])]
        assert inside, group["title"]
        notes += any(node["type"] == NOTE for node in inside)
    for node in saved["nodes"]:
        assert sum(_inside(node, group["bounding"]) for group in saved["groups"]) == 1
    assert notes == len(saved["groups"])


@pytest.mark.parametrize("name", NAMES)
def test_groups_do_not_overlap(name: str):
    boxes = [group["bounding"] for group in workflow(name)["groups"]]
    for a, b in itertools.combinations(boxes, 2):
        apart = a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0]
        assert apart or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_thumbnail(name: str):
    path = FOLDER / f"{file_name(name)}.jpg"
    with Image.open(path) as picture:
        assert picture.format == "JPEG"
        assert picture.width == 640
    assert path.stat().st_size < 60_000


def _inside(node: dict[str, Any], box: list[int]) -> bool:
    (x, y), (width, height) = node["pos"], node["size"]
    left, top, wide, high = box
    return left <= x and x + width <= left + wide and top <= y and y + height <= top + high
