"""What a person gets to read when something is wrong: one clear line, and no path of the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.support.comfy_host import ApiError, ComfyHost, PromptError
from scripts.support.family import FOLDER
from tests.host.graphs import IDS, base_name, family_files, merge_graph, quickstart, shown_errors

pytestmark = pytest.mark.host


def refused(comfy: ComfyHost, graph: dict[str, Any], target: str) -> list[tuple[str, str]]:
    """Errors of a graph that /prompt refuses with 400."""
    with pytest.raises(ApiError) as caught:
        comfy.queue(graph, [target])
    assert caught.value.status == 400
    assert str(comfy.base_dir) not in json.dumps(caught.value.body)
    return shown_errors(caught.value.body)


def failed(comfy: ComfyHost, graph: dict[str, Any], target: str) -> str:
    """First line of the error of a graph that fails while running."""
    with pytest.raises(PromptError) as caught:
        comfy.prompt(graph, [target])
    event = caught.value.entry["status"]["messages"][-1][1]
    assert event["exception_type"].startswith("orthomerge.")
    assert str(comfy.base_dir) not in json.dumps(caught.value.entry)
    return caught.value.message.splitlines()[0]


def test_wrong_model_name_is_refused_with_the_near_miss(comfy: ComfyHost):
    graph = quickstart(OrthoModelSet__models=f"{FOLDER}/photto.safetensors")
    errors = refused(comfy, graph, IDS["SaveImage"])
    text = dict(errors)["OrthoModelSet"]
    assert f'no model file "{FOLDER}/photto.safetensors"' in text
    assert f'Did you mean "{FOLDER}/photo.safetensors"' in text


def test_each_wrong_name_is_told_once_and_where_it_stands(comfy: ComfyHost):
    """ComfyUI repeats one message of a node's own check at every input which that check names."""
    wrong = quickstart(OrthoModelSet__models=f"{FOLDER}/photto.safetensors")
    ((_, text),) = refused(comfy, wrong, IDS["SaveImage"])
    assert text.startswith("models - no model file")


def test_a_wrong_base_is_told_once_and_at_the_base(comfy: ComfyHost):
    """Newer hosts hold it against their own list; older ones leave it to the node's run."""
    graph = quickstart(OrthoModelSet__base="base.safetensors")
    with pytest.raises((ApiError, PromptError)) as caught:
        comfy.prompt(graph, [IDS["SaveImage"]])
    if isinstance(caught.value, ApiError):
        ((_, text),) = shown_errors(caught.value.body)
        assert text.startswith("base: 'base.safetensors' not in")
    else:
        assert 'no model file "base.safetensors"' in caught.value.message
        assert f'Did you mean "{base_name()}"' in caught.value.message


def test_the_browser_can_ask_who_is_in_a_set_before_a_run(comfy: ComfyHost):
    asked = {
        "base": base_name(),
        "models": f"{FOLDER}/ink.safetensors\n{FOLDER}/photto.safetensors",
    }
    said = comfy.post("/orthomerge/set", asked)
    assert said["names"] == ["ink"] and said["files"] == {"ink": f"{FOLDER}/ink.safetensors"}
    ((file, text),) = [(m["file"], m["text"]) for m in said["missing"]]
    assert file == f"{FOLDER}/photto.safetensors" and f'Did you mean "{FOLDER}/photo' in text
    whole = comfy.post("/orthomerge/set", {"base": base_name(), "models": ""})
    assert set(whole["files"].values()) == set(family_files()) and whole["missing"] == []
    assert str(comfy.base_dir) not in json.dumps([said, whole])


@pytest.mark.parametrize("asked", [[], {"base": 3}, {"base": "no/such.safetensors"}, "x"])
def test_a_wrong_question_about_a_set_is_refused(comfy: ComfyHost, asked: Any):
    with pytest.raises(ApiError) as caught:
        comfy.post("/orthomerge/set", asked)
    assert caught.value.status == 400 and "Traceback" not in json.dumps(caught.value.body)


def test_the_list_of_files_has_sizes_and_dates_and_no_path(comfy: ComfyHost):
    files = {f["name"]: f for f in comfy.get("/orthomerge/models")["files"]}
    base = comfy.base_dir / "models" / "diffusion_models" / base_name()
    assert files[base_name()]["bytes"] == base.stat().st_size
    assert files[base_name()]["modified"] == int(base.stat().st_mtime)
    assert str(comfy.base_dir) not in json.dumps(files)


@pytest.mark.parametrize("name", ["../base.safetensors", "/etc/passwd", "..\\x.safetensors"])
def test_names_cannot_leave_the_model_folders(comfy: ComfyHost, name: str):
    errors = refused(comfy, quickstart(OrthoModelSet__models=name), IDS["SaveImage"])
    assert "no model file" in errors[0][1]


def test_cyclic_table_is_refused(comfy: ComfyHost):
    rows = [
        {"model": "ink", "delta_from": "photo", "touched": ["delta_from"]},
        {"model": "photo", "delta_from": "ink", "touched": ["delta_from"]},
    ]
    graph = quickstart(OrthoMixer__table=json.dumps({"version": 1, "rows": rows}))
    (kind, text), *_ = refused(comfy, graph, IDS["SaveImage"])
    assert kind == "OrthoMixer"
    assert "delta_from goes in a circle, ink → photo → ink. Set one of these rows" in text


def test_cycle_with_the_proposal_fails_in_the_mixer(comfy: ComfyHost):
    rows = [{"model": "ink", "delta_from": "ink-fine", "touched": ["delta_from"]}]
    graph = quickstart(OrthoMixer__table=json.dumps({"version": 1, "rows": rows}))
    line = failed(comfy, graph, IDS["OrthoMixer"])
    assert "delta_from goes in a circle" in line


def test_table_that_is_not_json_is_refused(comfy: ComfyHost):
    errors = refused(comfy, quickstart(OrthoMixer__table="{rows"), IDS["SaveImage"])
    assert errors[0][1].startswith("table - table is not JSON")


def test_unknown_method_option_names_the_valid_ones(comfy: ComfyHost):
    table = {"version": 1, "rows": [], "options": {"orthomerge": {"dampening": 0.1}}}
    errors = refused(comfy, quickstart(OrthoMixer__table=json.dumps(table)), IDS["SaveImage"])
    assert 'Did you mean "damping"?' in errors[0][1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": [{"model": "ink"}] * 10_000}, "too many rows: expected at most 256, received 10"),
        ({"models": {"ink": {"file": "../../secret"}}}, "a path that leaves the models folder"),
        ({"base": "/etc/passwd"}, "base: a path that leaves the models folder"),
        ({"rows": [{"model": "ink", "alpha": "much"}]}, "row 1, alpha: expected a finite number"),
        ({"rows": [{"model": "ink", "alpha": float("nan")}]}, "NaN is not a JSON number"),
        ({"rows": "ink"}, "rows: expected a list"),
        ({"output_dtype": "bf61"}, 'Did you mean "bf16"'),
        ({"schema_version": 99}, "newer schema version"),
        ({"note": "x" * 5_000_000}, "recipe is too long: expected at most 1000000 characters"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_it_runs(
    comfy: ComfyHost, change: dict[str, Any], says: str
):
    recipe = {"base": base_name(), "models": {}, "rows": [], "method": "average"} | change
    graph = {"load": {"class_type": "OrthoRecipe", "inputs": {"json": json.dumps(recipe)}}}
    with pytest.raises(ApiError) as caught:
        comfy.queue(graph)
    ((kind, text),) = shown_errors(caught.value.body)
    assert kind == "OrthoRecipe" and says in text
    for secret in (str(comfy.base_dir), str(Path.cwd()), "Traceback"):
        assert secret not in json.dumps(caught.value.body)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "avrage"}, 'unknown method "avrage". Did you mean "average"?'),
        ({"method": "dare", "options": {"drop": 3}}, 'option "drop": expected a finite number'),
        ({"method": "dare", "options": {"dorp": 0.5}}, 'Did you mean "drop"?'),
        (
            {
                "rows": [
                    {"model": "ink", "delta_from": "photo"},
                    {"model": "photo", "delta_from": "ink"},
                ]
            },
            "delta_from goes in a circle, ink → photo → ink",
        ),
        ({"rows": [{"model": "nobody"}]}, 'no model "nobody" in the set'),
    ],
)
def test_a_recipe_that_does_not_hold_fails_in_its_plan(
    comfy: ComfyHost, change: dict[str, Any], says: str
):
    models = {name: f"{FOLDER}/{name}.safetensors" for name in ("ink", "photo")}
    recipe = {"base": base_name(), "models": models, "method": "average"}
    recipe |= {"rows": [{"model": "ink"}]} | change
    graph = {
        "load": {"class_type": "OrthoRecipe", "inputs": {"json": json.dumps(recipe)}},
        "file": {
            "class_type": "OrthoMergeSave",
            "inputs": {"recipe": ["load", 0], "filename_prefix": "diffusion_models/bad"},
        },
    }
    assert says in failed(comfy, graph, "file")
    assert not list((comfy.base_dir / "output").rglob("*bad*"))


@pytest.fixture
def truncated(comfy: ComfyHost) -> Iterator[str]:
    """Names of a whole and a truncated model, for as long as the test runs."""
    folder = comfy.base_dir / "models" / "diffusion_models" / FOLDER
    whole = (folder / "photo.safetensors").read_bytes()
    short = folder / "short.safetensors"
    short.write_bytes(whole[: len(whole) // 2])
    yield f"{family_files()[0]}\n{FOLDER}/short.safetensors"
    short.unlink()


def test_truncated_file(comfy: ComfyHost, truncated: str):
    graph = quickstart(OrthoModelSet__models=truncated, CompatibilityFix__skip_misfits=False)
    line = failed(comfy, graph, IDS["SaveImage"])
    assert "short.safetensors" in line
    assert "expected" in line and "received" in line


def test_truncated_file_is_left_out_with_its_reason(comfy: ComfyHost, truncated: str):
    entry = comfy.prompt(quickstart(OrthoModelSet__models=truncated), [IDS["SaveImage"]])
    said = json.dumps(entry["outputs"][IDS["CompatibilityFix"]])
    assert "short.safetensors" in said and "is truncated" in said
    assert str(comfy.base_dir) not in said
    assert entry["outputs"][IDS["SaveImage"]]["images"]


def test_vanished_file_is_named(comfy: ComfyHost):
    folder = comfy.base_dir / "models" / "diffusion_models" / FOLDER
    passing = folder / "passing.safetensors"
    passing.write_bytes((folder / "photo.safetensors").read_bytes())
    graph = merge_graph([f"{FOLDER}/passing.safetensors"])
    comfy.prompt(graph, ["mixer"])
    passing.unlink()
    errors = refused(comfy, graph, "mixer")
    assert f'no model file "{FOLDER}/passing.safetensors"' in errors[0][1]


def test_prefix_that_leaves_the_output_folder(comfy: ComfyHost):
    graph = merge_graph(family_files()[:1])
    graph["file"] = {
        "class_type": "OrthoMergeSave",
        "inputs": {"recipe": ["mixer", 0], "filename_prefix": "../../escaped"},
    }
    assert 'filename prefix "../../escaped"' in failed(comfy, graph, "file")
    assert not list(Path(comfy.base_dir).glob("*escaped*"))
