"""What the server knows of our nodes has words in every language that we ship."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.support.comfy_host import ComfyHost

pytestmark = pytest.mark.host

LANGUAGES = ("en", "de", "zh")


@pytest.fixture(scope="module")
def nodes(comfy: ComfyHost) -> dict[str, Any]:
    """Our nodes as the server describes them."""
    known = comfy.get("/object_info")
    return {name: node for name, node in known.items() if node["category"] == "OrthoMerge"}


@pytest.fixture(scope="module")
def words(comfy: ComfyHost) -> dict[str, Any]:
    """Node definitions by language, as the server hands them to the browser."""
    served = comfy.get("/i18n")
    return {language: served[language]["nodeDefs"] for language in LANGUAGES}


def inputs_of(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of every visible input by its name."""
    fields = node["input"].get("required", {}) | node["input"].get("optional", {})
    return {name: spec[1] if len(spec) > 1 else {} for name, spec in fields.items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_input_and_output_has_words(
    nodes: dict[str, Any], words: dict[str, Any], language: str
):
    spoken = words[language]
    assert set(spoken) >= set(nodes)
    for name, node in nodes.items():
        said = spoken[name]
        assert said["description"], name
        assert bool(said.get("display_name")) == (language != "en"), name  # English: the schema's
        assert set(said["inputs"]) == set(inputs_of(node)), name
        assert set(said["outputs"]) == {str(i) for i in range(len(node["output"]))}, name
        for part in (*said["inputs"].values(), *said["outputs"].values()):
            assert part["name"] and part["tooltip"], (name, part)


def test_english_is_what_the_nodes_say_themselves(nodes: dict[str, Any], words: dict[str, Any]):
    for name, node in nodes.items():
        said = words["en"][name]
        assert said["description"] == node["description"]
        for key, options in inputs_of(node).items():
            assert said["inputs"][key]["tooltip"] == options["tooltip"], (name, key)
        for index, tooltip in enumerate(node["output_tooltips"]):
            assert said["outputs"][str(index)]["tooltip"] == tooltip, (name, index)


def test_translations_differ_from_english(nodes: dict[str, Any], words: dict[str, Any]):
    for language in ("de", "zh"):
        for name in nodes:
            assert words[language][name]["description"] != words["en"][name]["description"]
