"""What /object_info says of every node, against a golden file: old workflows must keep loading."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden_schema.json"
OUTPUT_NODES = {
    "OrthoExtractLoRA",
    "CompatibilityFix",
    "DeltaGramAnalyzer",
    "DeltaBaseOptimizer",
    "OrthoMixer",
    "OrthoMergeSave",
    "OrthoRecipe",
    "OrthoGridPicture",
    "OrthoTuneResult",
    "OrthoPictureScore",
}
# Lists that depend on the machine, or grow with the core.
GROWING = {("base", "options"), ("file", "options"), ("architecture", "options")}
GROWING |= {("method", "options"), ("table", "orthomerge"), ("vae", "options")}


def finds_by_alias() -> bool:
    """Whether this ComfyUI's schemas have aliases for the search."""
    from comfy_api.latest import io

    return "search_aliases" in {field.name for field in dataclasses.fields(io.Schema)}


def described(node: Any) -> dict[str, Any]:
    """The part of a node's description that saved workflows rely on."""
    info = node.GET_NODE_INFO_V1()
    inputs = {
        kind: {name: [spec[0], _settled(name, spec[1])] for name, spec in fields.items()}
        for kind, fields in info["input"].items()
        if kind != "hidden"
    }
    kept = ["output", "output_name", "name", "category", "output_node"]
    if not finds_by_alias():
        kept.append("display_name")  # elsewhere the words to find a node by are its aliases
    return {"input": inputs, **{key: info[key] for key in kept}}


def _settled(name: str, options: dict[str, Any]) -> dict[str, Any]:
    words = {"tooltip"}
    return {
        key: "…" if (name, key) in GROWING else value
        for key, value in options.items()
        if key not in words
    }


def test_schemas_are_those_of_the_golden_file(pack: ModuleType, folders: Path):
    found = json.loads(json.dumps({n.define_schema().node_id: described(n) for n in pack.NODES}))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    if finds_by_alias():
        for node in golden.values():
            del node["display_name"]
    assert found == golden


def test_the_extension_lists_every_node(pack: ModuleType):
    import asyncio

    assert asyncio.run(pack.Extension().get_node_list()) == list(pack.NODES)


def test_class_name_is_node_id(pack: ModuleType, folders: Path):
    assert [n.define_schema().node_id for n in pack.NODES] == [n.__name__ for n in pack.NODES]


def test_what_can_run_alone(pack: ModuleType, folders: Path):
    runs_alone = {n.__name__ for n in pack.NODES if n.OUTPUT_NODE}
    assert runs_alone == OUTPUT_NODES


def test_everything_says_what_it_is(pack: ModuleType, folders: Path):
    for node in pack.NODES:
        schema = node.define_schema()
        assert schema.category == "OrthoMerge" and schema.description
        for part in (*schema.inputs, *schema.outputs):
            assert part.tooltip, (schema.node_id, part.id)
        assert len(schema.inputs) <= 12


def test_optional_inputs_have_defaults_in_python(pack: ModuleType, folders: Path):
    """Prompts that were saved before an input existed keep working."""
    for node in pack.NODES:
        signature = inspect.signature(inspect.unwrap(node.execute)).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.values())
        for field in node.define_schema().inputs:
            if field.optional and field.id in signature:
                assert signature[field.id].default is not inspect.Parameter.empty
            assert field.id in signature or open_ended, (node.__name__, field.id)


def test_widget_defaults_equal_python_defaults(pack: ModuleType, folders: Path):
    for node in pack.NODES:
        signature = inspect.signature(inspect.unwrap(node.execute)).parameters
        for field in node.define_schema().inputs:
            default = getattr(field, "default", None)
            if default is not None and field.id in signature and field.optional:
                assert signature[field.id].default == default, (node.__name__, field.id)


def test_the_browser_learns_every_methods_options(pack: ModuleType, folders: Path):
    methods = pack.OrthoMixer.GET_NODE_INFO_V1()["input"]["optional"]["table"][1]["orthomerge"]
    assert {"orthomerge", "task_arithmetic"} <= set(methods["methods"])
    for info in methods["methods"].values():
        assert info["label"] and info["summary"]
        assert all({"name", "kind", "default", "help"} <= set(p) for p in info["params"])
    assert methods["methods"]["slerp"]["max_rows"] == 1
    assert methods["methods"]["orthomerge"]["max_rows"] is None
    assert methods["methods"]["orthogonal_projection"]["order_matters"] is True


@pytest.mark.parametrize("table", ["", '{"version": 1, "rows": []}'])
def test_plain_tables_are_valid(pack: ModuleType, table: str):
    assert pack.OrthoMixer.validate_inputs(table=table) is True


def test_linked_inputs_are_not_validated(pack: ModuleType):
    assert pack.OrthoMixer.validate_inputs(table=None) is True
    assert pack.OrthoModelSet.validate_inputs(models=None) is True
    assert pack.OrthoAddModel.validate_inputs(name=None) is True


def test_every_wire_of_ours_has_a_colour():
    nodes = json.loads(GOLDEN.read_text(encoding="utf-8")).values()
    wires = {t for node in nodes for t in _texts(node) if t.startswith("ORTHO_")}
    script = (Path(__file__).parents[2] / "web/js/comfy/wire_colors.mjs").read_text("utf-8")
    colours = dict(re.findall(r'(ORTHO_\w+): "(#[0-9a-f]{6})"', script))
    assert set(colours) == wires
    assert len(set(colours.values())) == len(wires)


def _texts(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]
