"""Text that no log can hold: refused or shown escaped, and the server goes on."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from scripts.support.comfy_host import ApiError, ComfyHost, PromptError
from scripts.support.family import FOLDER
from tests.host.graphs import base_name, family_files, merge_graph

pytestmark = pytest.mark.host

ODD = {
    "surrogate": "\ud800",
    "control": "a\x1b[2Jb",
    "line break": "a\nERROR: b",
    "direction": "photo\u202egnp",
    "separator": "a\u2028b",
    "megabyte": "x" * 900_000,
}


def answer(comfy: ComfyHost, graph: dict[str, Any], target: str) -> tuple[str, Any]:
    """The first line of what went wrong, and the whole answer."""
    try:
        entry = comfy.prompt(graph, [target])
    except ApiError as error:
        errors = [e for node in error.body["node_errors"].values() for e in node["errors"]]
        return errors[0]["details"], error.body
    except PromptError as error:
        return error.message, error.entry
    return "", entry


def with_table(model: str, **row: Any) -> dict[str, Any]:
    table = {"version": 1, "rows": [{"model": model, **row}]}
    return merge_graph(family_files()[:1], json.dumps(table))


def with_input(**inputs: Any) -> dict[str, Any]:
    graph = merge_graph(family_files()[:1])
    graph["mixer"]["inputs"] |= inputs
    return graph


def with_recipe(change: dict[str, Any]) -> dict[str, Any]:
    recipe = {"base": base_name(), "models": {}, "rows": []} | change
    return {"mixer": {"class_type": "OrthoRecipe", "inputs": {"json": json.dumps(recipe)}}}


def with_set(**inputs: Any) -> dict[str, Any]:
    graph = merge_graph(family_files()[:1])
    graph["set"]["inputs"] |= inputs
    return graph


HOSTS_OWN = re.compile(r" not in (\(list of length \d+\)|\[.*\])$")
PLACES = {
    "table model": lambda text: with_table(text),
    "table parent": lambda text: with_table("ink", delta_from=text),
    "table layers": lambda text: with_table("ink", layers=f"{text}=1"),
    "table options": lambda text: with_input(
        table=json.dumps({"version": 1, "rows": [], "options": {text: {}}})
    ),
    "texture_model": lambda text: with_input(texture_model=f"m{text}", texture_alpha=0.1),
    "method": lambda text: with_input(method=text),
    "recipe base": lambda text: with_recipe({"base": text}),
    "recipe method": lambda text: with_recipe({"method": text}),
    "recipe note": lambda text: with_recipe({text: 1, "base": 3}),
    "set models": lambda text: with_set(models=text),
    "set architecture": lambda text: with_set(architecture=text),
    "set base": lambda text: with_set(base=text),
}


@pytest.mark.parametrize("place", PLACES)
def test_odd_text_is_named_and_the_server_goes_on(comfy: ComfyHost, place: str):
    for kind, text in ODD.items():
        line, _ = answer(comfy, PLACES[place](text), "mixer")
        line.encode()
        assert line, (place, kind)
        ours = line.rstrip("\n").split("\n  - ")
        assert all(c.isprintable() for part in ours for c in part), (place, kind, line[:300])
        if not HOSTS_OWN.search(line):  # later releases check choices, and repeat what they got
            assert len(line) < 5000, (place, kind)
    assert answer(comfy, merge_graph(family_files()[:1]), "mixer")[0] == ""


def test_a_file_whose_name_cannot_be_shown_is_not_offered(comfy: ComfyHost):
    folder = comfy.base_dir / "models" / "diffusion_models" / FOLDER
    good = (folder / "photo.safetensors").read_bytes()
    odd = [os.fsencode(folder) + b"/" + n for n in (b"\xff.safetensors", b"a\x1b.safetensors")]
    try:
        for path in odd:
            with open(path, "wb") as file:  # noqa: PTH123  a name that is not UTF-8
                file.write(good)
        base = comfy.get("/object_info/OrthoModelSet")["OrthoModelSet"]["input"]["required"]["base"]
        assert not [name for name in base[1]["options"] if not name.isprintable()]
        line, _ = answer(comfy, with_set(models=f"{FOLDER}/a\x1b.safetensors"), "mixer")
        assert f'"{FOLDER}/a\\x1b.safetensors" holds characters that cannot be shown' in line
        # none picked: every compatible file beside the base
        assert answer(comfy, with_set(models=""), "mixer")[0] == ""
    finally:
        for path in odd:
            os.unlink(path)  # noqa: PTH108
