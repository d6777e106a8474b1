"""What the header of a merged file tells: its maker's words, its family, its files' hashes."""

import base64
import hashlib
import json

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from orthomerge_core.errors import CompatibilityError, RecipeError, WriteError
from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.output.ancestry import MAX_BYTES, family_tree, ingredients_json
from orthomerge_core.execute.output.details import (
    MAX_FIELD_BYTES,
    MAX_THUMBNAIL_BYTES,
    FileDetails,
    free_fields,
    thumbnail_uri,
)
from orthomerge_core.execute.output.split import part_files, write_parts
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.file_hash import file_sha256
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.recipe import codec
from orthomerge_core.report.ancestry_text import ancestry_lines
from orthomerge_core.report.card import model_card
from orthomerge_core.report.merge_text import merge_report
from tests.checkpoints import checkpoint
from tests.core.execute.conftest import base_tensors, tuned

JPEG = b"\xff\xd8\xff\xe0 a picture"


@pytest.fixture
def folder(tmp_path):
    base = base_tensors()
    told = {"modelspec.license": "MIT"}
    save_file(base, tmp_path / "base.safetensors", metadata={"modelspec.license": "CC-BY-4.0"})
    for seed, name in enumerate(("a", "b", "c"), 1):
        save_file(tuned(base, seed), tmp_path / f"{name}.safetensors", metadata=told)
    return tmp_path


def merge(folder, out, rows, base="base", caches=None, **options):
    names = list(dict.fromkeys(row["model"] for row in rows))
    body = {
        "base": f"{base}.safetensors",
        "models": {name: {"file": f"{name}.safetensors"} for name in names},
        "rows": rows,
        "method": "task_arithmetic",
    }
    recipe = codec.from_json(body)
    spec = spec_from_recipe(recipe, FolderResolver([folder]))
    with plan_merge(recipe, spec, target=folder / f"{out}.safetensors") as plan:
        report = run_merge(plan, caches, **options).report
    with safe_open(folder / f"{out}.safetensors", "pt") as file:
        return report, file.metadata()


def test_words_of_the_maker_are_in_the_header(folder):
    details = FileDetails("Mix", "jo", "MIT", "xyz, abc", JPEG, free_fields('{"n": 1, "t": "é"}'))
    _, header = merge(folder, "m", [{"model": "a"}], details=details)
    assert header["modelspec.title"] == "Mix" and header["modelspec.author"] == "jo"
    assert header["modelspec.license"] == "MIT"
    assert header["modelspec.trigger_phrase"] == "xyz, abc"
    kind, _, data = header["modelspec.thumbnail"].partition(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(data) == JPEG
    assert (header["n"], header["t"]) == ("1", "é")
    _, bare = merge(folder, "bare", [{"model": "a"}], details=details, provenance=False)
    assert bare["modelspec.author"] == "jo" and "orthomerge.recipe" not in bare
    assert "sd_merge_recipe" not in bare and "orthomerge.ingredients" not in bare


def test_without_words_the_licenses_of_all_ingredients_stand_there(folder):
    report, header = merge(folder, "m", [{"model": "a"}, {"model": "b"}])
    assert header["modelspec.license"] == "CC-BY-4.0; MIT"
    assert "The ingredients state different licenses: CC-BY-4.0; MIT." in report.notes


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: thumbnail_uri(b"\x89PNG"), "thumbnail: expected a JPEG"),
        (lambda: thumbnail_uri(JPEG + bytes(MAX_THUMBNAIL_BYTES)), "expected at most 512 KiB"),
        (lambda: free_fields("[1]"), 'metadata: expected a JSON object, received "[1]"'),
        (lambda: free_fields("{"), "metadata: expected a JSON object"),
        (lambda: free_fields('{"format": "x"}'), 'metadata: "format" is not free'),
        (lambda: free_fields('{"orthomerge.recipe": "x"}'), "is not free"),
        (lambda: free_fields(json.dumps({"x": "a" * MAX_FIELD_BYTES + "a"})), '"x" is too long'),
        (lambda: FileDetails("t" * (MAX_FIELD_BYTES + 1)).metadata(), '"modelspec.title" is too'),
    ],
)
def test_what_is_wrong_with_them_is_told(make, says):
    with pytest.raises(RecipeError) as caught:
        make()
    assert says in str(caught.value)


def test_a_merge_of_merges_tells_its_whole_tree(folder):
    merge(folder, "first", [{"model": "a", "alpha": 0.5}, {"model": "b"}])
    merge(folder, "second", [{"model": "first", "alpha": 0.7}])
    _, header = merge(folder, "third", [{"model": "c"}], base="second")
    tree = family_tree(header)
    inner = tree["ingredients"]["base"]
    assert inner["file"] == "second.safetensors"
    assert inner["ingredients"]["first"]["recipe"]["rows"][0]["alpha"] == 0.5
    assert ancestry_lines(header) == [
        "merged with task_arithmetic",
        "  base: second.safetensors",
        "    merged with task_arithmetic",
        "      base: base.safetensors",
        "      0.7 × first: first.safetensors",
        "        merged with task_arithmetic",
        "          base: base.safetensors",
        "          0.5 × a: a.safetensors",
        "          1 × b: b.safetensors",
        "  1 × c: c.safetensors",
    ]
    assert str(folder) not in json.dumps(header)
    assert verify_file(folder / "third.safetensors").ok


def test_a_tree_too_large_loses_its_deepest_levels():
    recipe = json.dumps({"rows": "x" * (MAX_BYTES // 3)})
    header = {"orthomerge.recipe": recipe}
    for _ in range(4):
        below = ingredients_json([("m", "m.safetensors", header)])
        header = {"orthomerge.recipe": recipe, "orthomerge.ingredients": below}
    assert 0 < len(below) <= MAX_BYTES
    depth, node = 0, json.loads(below)
    while node:
        depth, node = depth + 1, next(iter(node.values())).get("ingredients")
    assert 2 <= depth <= 3


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"rows": 3}', '{"base": {}}', "1"])
def test_headers_of_any_origin_are_read(text):
    header = {"orthomerge.recipe": text, "orthomerge.ingredients": text, "sd_merge_models": text}
    assert all(isinstance(line, str) for line in ancestry_lines(header))
    header["sd_merge_recipe"] = '{"type": "webui"}'
    assert ancestry_lines({"sd_merge_recipe": '{"type": "webui\\u0007"}'}) == [
        "merged by another program (webui\\x07)"
    ]


def test_the_fields_of_the_web_ui_name_files_by_their_hashes(folder):
    save = {"sd_merge_models": json.dumps({"ff": {"name": "old", "sd_merge_recipe": None}})}
    save |= {"sd_merge_recipe": json.dumps({"type": "webui"})}
    save_file(load_file(folder / "a.safetensors"), folder / "web.safetensors", metadata=save)
    rows = [{"model": "web", "alpha": 0.5, "layers": "blocks.0=0.5"}, {"model": "b"}]
    report, header = merge(folder, "m", rows, sha256=True)
    models, recipe = json.loads(header["sd_merge_models"]), json.loads(header["sd_merge_recipe"])
    sha = {
        name: hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
        for name in ("base", "web", "b", "m")
    }
    assert set(models) == {"ff", sha["base"], sha["web"], sha["b"]}
    assert models[sha["web"]] == {
        "name": "web.safetensors",
        "legacy_hash": "",
        "sd_merge_recipe": {"type": "webui"},
    }
    assert recipe["type"] == "orthomerge" and recipe["primary_model_hash"] == sha["base"]
    assert recipe["rows"][0]["model_hash"] == sha["web"] and recipe["rows"][0]["alpha"] == 0.5
    wanted = {"base": sha["base"], "web": sha["web"], "b": sha["b"], "m.safetensors": sha["m"]}
    assert report.sha256 == wanted and report.to_json()["sha256"] == wanted
    assert f"| m.safetensors | `{sha['m'][:10]}` | `{sha['m']}` |" in merge_report(report)


def test_without_sha256_our_own_hashes_stand_there(folder):
    report, header = merge(folder, "m", [{"model": "a"}])
    assert set(json.loads(header["sd_merge_models"])) == set(report.source_hashes.values())
    assert report.sha256 == {}


def test_a_file_is_read_once_for_its_sha256(folder, monkeypatch):
    caches = Caches(memo=HashMemo(folder / "memo"))
    first, _ = merge(folder, "m", [{"model": "a"}], caches=caches, sha256=True)
    monkeypatch.setattr(hashlib, "sha256", None)
    fresh = HashMemo(folder / "memo")
    for name in ("base", "a"):
        assert file_sha256(folder / f"{name}.safetensors", fresh) == first.sha256[name]


def test_the_card_has_all_it_takes_to_repeat(folder):
    rows = [{"model": "a", "alpha": 0.5, "text": [0.3, 0.6], "layers": "blocks.0=0.5, default=2"}]
    report, header = merge(folder, "my mix", rows, sha256=True)
    recipe = codec.loads(header["orthomerge.recipe"])
    card = model_card(recipe, header, report.sha256, "my mix")
    for line in (
        "# my mix",
        "W = base + 0.5 · (a − base) ∘ layers",
        f"| a | a.safetensors | `{report.source_hashes['a']}` | `{report.sha256['a'][:10]}` |",
        "| a | 0.5 | 0.3 / 0.6 | blocks.0=0.5, default=2 |",
        "CC-BY-4.0; MIT",
        "orthomerge merge 'my mix.safetensors' -o 'my mix again.safetensors' --models-dir FOLDER",
    ):
        assert line in card, card
    assert "all of them apply" in card
    assert "## Whole family" not in card
    plain = model_card(codec.from_json({"base": "b.safetensors", "models": {}, "rows": []}))
    assert "No row is on" in plain and "## License" not in plain


def test_no_header_can_break_the_card(folder):
    header = {"modelspec.title": "x\n# not a title | `", "modelspec.author": "<script>"}
    recipe = codec.from_json({"base": "b|.safetensors", "models": {}, "rows": []})
    card = model_card(recipe, header)
    assert card.splitlines()[0] == "# x \\# not a title \\| \\`"
    assert "\\<script\\>" in card and "| b\\|.safetensors |" in card


def test_text_encoders_and_vae_become_files_of_their_own(tmp_path):
    base = checkpoint("sdxl", factor=128)
    save_file(base, tmp_path / "base.safetensors")
    save_file(checkpoint("sdxl", 1, base=base, factor=128), tmp_path / "a.safetensors")
    body = {"base": "base.safetensors", "models": {"a": {"file": "a.safetensors"}},
            "rows": [{"model": "a", "alpha": 0.5}], "method": "task_arithmetic"}  # fmt: skip
    recipe = codec.from_json(body)
    spec = spec_from_recipe(recipe, FolderResolver([tmp_path]))
    with plan_merge(recipe, spec, target=tmp_path / "m.safetensors") as plan:
        run_merge(plan)
        files = write_parts(plan)
        with pytest.raises(WriteError, match=r'"m_clip_l\.safetensors" exists already'):
            part_files(plan)
    assert [p.name for p in files] == [f"m_{n}.safetensors" for n in ("clip_l", "clip_g", "vae")]
    merged = load_file(tmp_path / "m.safetensors")
    lead = {"clip_l": "conditioner.embedders.0.transformer.", "vae": "first_stage_model."}
    lead["clip_g"] = "conditioner.embedders.1.model."
    for name, prefix in lead.items():
        part = load_file(tmp_path / f"m_{name}.safetensors")
        assert part and set(part) == {
            k.removeprefix(prefix) for k in merged if k.startswith(prefix)
        }
        assert all(t.equal(merged[prefix + key]) for key, t in part.items())
    with (
        plan_merge(recipe, spec, target=tmp_path / "d.safetensors", layout="diffusion") as plan,
        pytest.raises(CompatibilityError, match="no text encoders and no VAE to write"),
    ):
        part_files(plan)
