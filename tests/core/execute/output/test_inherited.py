"""What a merged header takes over: an allow-list."""

import json

from orthomerge_core.execute.output.inherited import inherited_config, inherited_spec
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.keys.setspec import ModelSpec, SetSpec
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import recipe_for
from tests.fakes import MemorySource

PRIVATE = {
    "ot_config": json.dumps({"workspace_dir": "C:/Users/JaneDoe/OneTrainer"}),
    "sd_merge_recipe": "{}",
    "sd_merge_models": "{}",
    "training_info": "{}",
    "software": "{}",
    "ss_steps": "1",
    "sshs_model_hash": "00",
    "hash": "dead",
    "sha256": "dead",
    "epoch": "12",
    "name": "my_base_v1",
    "prompt": "{}",
    "workflow": "{}",
    "modelspec.hash_sha256": "0xdead",
    "modelspec.thumbnail": "data:…",
    "anything": "else",
}


def merged(family, base, model):
    sources = (
        MemorySource("base", family["base"], metadata=base),
        MemorySource("a", family["a"], metadata=model),
    )
    spec = SetSpec(
        ModelSpec("base", "base.safetensors", source=sources[0]),
        (ModelSpec("a", "a.safetensors", source=sources[1]),),
    )
    with plan_merge(recipe_for(spec, Row("a")), spec) as plan:
        return run_merge(plan)


def test_nothing_private_and_nothing_stale_is_inherited(family):
    found = merged(family, PRIVATE | {"format": "pt"}, {})
    assert {key for key in PRIVATE if key in found.metadata} == set()
    assert "JaneDoe" not in json.dumps(found.metadata)


def test_licenses_and_trigger_phrases_of_all_ingredients_are_kept(family):
    base = {"modelspec.license": "CreativeML", "modelspec.trigger_phrase": "ink"}
    model = {"modelspec.license": "Fair AI", "modelspec.trigger_phrase": "paint"}
    found = merged(family, base, model)
    assert found.metadata["modelspec.license"] == "CreativeML; Fair AI"
    assert found.metadata["modelspec.trigger_phrase"] == "ink, paint"
    note = "The ingredients state different licenses: CreativeML; Fair AI."
    assert note in found.report.notes
    same = merged(family, base, base)
    assert same.metadata["modelspec.license"] == "CreativeML"
    assert not any("licenses" in note for note in same.report.notes)


def test_of_the_config_only_what_comfyui_builds_from_is_kept():
    config = {"transformer": {"num_layers": 2}, "vae": {"dims": 3}, "dataset": "/home/jane"}
    kept = json.loads(inherited_config({"config": json.dumps(config)})["config"])
    assert kept == {"transformer": {"num_layers": 2}, "vae": {"dims": 3}}
    for text in ("{}", "[]", "no json", json.dumps({"transformer": "x"})):
        assert inherited_config({"config": text}) == {}


def test_what_the_base_says_of_its_architecture_is_kept():
    spec = {"modelspec.architecture": "stable-diffusion-xl-v1-base", "modelspec.author": "jane"}
    assert inherited_spec(spec, []) == {"modelspec.architecture": "stable-diffusion-xl-v1-base"}
