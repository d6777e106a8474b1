"""The shell from end to end on small files: what it prints, what it leaves, how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from orthomerge_core.cli.app import run
from orthomerge_core.recipe.codec import loads
from tests.core.execute.conftest import base_tensors, tuned

ROOT = Path(__file__).resolve().parents[2]
BASE, RECIPE = "models/base.safetensors", "models/recipe.json"


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORTHOMERGE_CACHE", str(tmp_path / "cache"))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            run(list(arguments))
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


@pytest.fixture
def models(tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    base = base_tensors()
    detail = tuned(base, 1)
    files = {
        "base": base,
        "detail": detail,
        "flash": tuned(base, 2),
        "anime": tuned(detail, 3, 0.01),
    }
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
    return folder


def write_recipe(folder: Path, name: str = "recipe.json", **changes: object) -> Path:
    recipe = {
        "base": "base.safetensors",
        "models": {"detail": "detail.safetensors", "flash": "flash.safetensors"},
        "rows": [{"model": "detail", "alpha": 0.5}, {"model": "flash"}],
        "method": "task_arithmetic",
        **changes,
    }
    path = folder / name
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def test_from_analysis_to_a_verified_merge(shell, models):
    code, out, _ = shell(
        "analyze", "models/base.safetensors", "models", "--rank-samples", "1", "--json", "a.json"
    )
    assert code == 0 and "detail" in out
    analysis = json.loads(Path("a.json").read_text())
    assert analysis["names"] == ["anime", "detail", "flash"]
    assert len(analysis["cosine"]) == 3 and len(analysis["grade"]) == 3

    code, out, _ = shell("optimize", "a.json", "-o", "recipe.json", "--method", "average")
    assert code == 0
    rows = {row["model"]: row for row in json.loads(Path("recipe.json").read_text())["rows"]}
    assert rows["anime"]["delta_from"] == "detail"

    merge = ("merge", "recipe.json", "--models-dir", "models", "-o", "out.safetensors", "--json")
    code, out, err = shell(*merge)
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert {"content_hash", "retention", "keys", "seconds", "peak_rss_mib"} <= report.keys()
    assert {"merged", "from_base", "repaired", "extra"} == report["keys"].keys()

    code, out, _ = shell("verify", "out.safetensors", "--json")
    assert code == 0 and json.loads(out)["computed"] == report["content_hash"]

    code, out, _ = shell(
        "merge", "out.safetensors", "--models-dir", "models", "-o", "again.safetensors"
    )
    assert code == 0
    assert Path("again.safetensors").read_bytes() != b""
    first, second = load_file("out.safetensors"), load_file("again.safetensors")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_merge_writes_the_sum(shell, models):
    write_recipe(models)
    code, out, _ = shell("merge", "models/recipe.json", "-o", "out.safetensors", "--dtype", "fp32")
    assert code == 0
    assert (
        "Merged 6 tensors with task_arithmetic to out.safetensors in " in out and "as fp32." in out
    )
    parts = {n: load_file(models / f"{n}.safetensors") for n in ("base", "detail", "flash")}
    merged = load_file("out.safetensors")
    for key in ("blocks.0.attn.weight", "final.gate"):
        base, detail, flash = (parts[n][key].double() for n in parts)
        wanted = base + 0.5 * (detail - base) + (flash - base)
        assert torch.allclose(merged[key].double(), wanted, atol=1e-6)
    with safe_open("out.safetensors", "pt") as file:
        header = file.metadata()
    recipe = json.loads(header["orthomerge.recipe"])
    assert len(recipe["models"]["detail"]["content_hash"]) == 32
    assert str(models) not in json.dumps(header)


def test_a_batch_goes_on_after_a_failure(shell, models):
    write_recipe(models, "one.json")
    write_recipe(models, "two.json", base="gone.safetensors")
    write_recipe(models, "three.json", method="average")
    names = [f"models/{n}.json" for n in ("one", "two", "three")]
    code, out, err = shell("merge", *names, "-o", "out")
    assert code == 1
    assert "one.json: done" in out and "two.json: failed" in out and "three.json: done" in out
    assert 'Error in two.json: "gone.safetensors" was not found' in err
    assert sorted(p.name for p in Path("out").iterdir()) == ["one.safetensors", "three.safetensors"]

    code, out, _ = shell("merge", *names, "-o", "out", "--overwrite", "--json")
    results = json.loads(out)
    assert [r["ok"] for r in results] == [True, False, True]
    assert results[0]["report"]["content_hash"]


def test_a_sweep_merges_once_per_value(shell, models):
    write_recipe(models)
    sweep = ("--sweep", "detail.alpha=0.25,0.5", "--sweep", "method=average,task_arithmetic")
    code, out, _ = shell("merge", "models/recipe.json", *sweep, "-o", "out")
    assert code == 0
    made = sorted(path.stem for path in Path("out").iterdir())
    assert made == [
        f"recipe detail alpha {alpha} · method {method}"
        for alpha in ("0.25", "0.5")
        for method in ("average", "task_arithmetic")
    ]
    assert all(f"{name}: done" in out for name in made)
    for name in made:
        with safe_open(f"out/{name}.safetensors", "pt") as file:
            recipe = json.loads(file.metadata()["orthomerge.recipe"])
        rows = [row["alpha"] for row in recipe["rows"] if row["model"] == "detail"]
        assert f"alpha {rows[0]:g} · method {recipe['method']}" in name


@pytest.mark.parametrize(
    ("sweep", "code", "says"),
    [
        ("detial.alpha=1", 1, "detail"),
        ("detail.alpha", 1, 'has no "="'),
    ],
)
def test_a_sweep_that_cannot_be_made(shell, models, sweep, code, says):
    write_recipe(models)
    got, _, err = shell("merge", "models/recipe.json", "--sweep", sweep, "-o", "out")
    assert (got, says in err, Path("out").exists()) == (code, True, False), err


def test_a_batch_goes_on_where_the_system_objects(shell, models):
    write_recipe(models)
    write_recipe(models, "long.json", base="b" * 400 + ".safetensors")
    code, out, _ = shell("merge", "models/long.json", "models/recipe.json", "-o", "out", "--json")
    first, second = json.loads(out)
    assert code == 1 and not first["ok"] and "long" in first["error"].lower() and second["ok"]


def test_a_recipe_with_a_byte_order_mark_is_read(shell, models):
    recipe = write_recipe(models)
    recipe.write_bytes(b"\xef\xbb\xbf" + recipe.read_bytes())
    assert shell("merge", str(recipe), "-o", "out.safetensors")[0] == 0


def test_a_dry_run_writes_nothing(shell, models):
    write_recipe(models)
    code, out, _ = shell(
        "merge", "models/recipe.json", "-o", "out.safetensors", "--dry-run", "--json"
    )
    assert code == 0 and json.loads(out)["estimate"]["output_mib"] >= 0
    code, out, _ = shell("merge", "models/recipe.json", "-o", "out.safetensors", "--dry-run")
    assert "active rows: detail, flash" in out
    assert not Path("out.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "Usage:"),
        (("mrege",), 2, "No such command"),
        (("merge", "models/recipe.json"), 2, "Missing option '-o'"),
        (("merge", "no.json", "-o", "x.safetensors"), 1, '"no.json" does not exist'),
        (("merge", "models/recipe.json", "-o", "x.txt"), 1, "wrong ending"),
        (
            ("merge", "models/recipe.json", "-o", "x.safetensors", "--dtype", "int3"),
            2,
            "fp8_e4m3fn",
        ),
        (("verify", "models/base.safetensors"), 1, "holds no content hash"),
        (("verify", "no.safetensors"), 1, '"no.safetensors" does not exist'),
        (("optimize", "models/recipe.json"), 1, "analysis"),
        (("analyze", "models/base.safetensors", "models", "--rank-samples", "-1"), 2, "0<=x<=1000"),
        (("analyze", "no.safetensors", "models"), 1, '"no.safetensors" does not exist'),
        (("inspect", "models/recipe.json"), 1, "not a model file"),
        (("export", "models/base.safetensors"), 1, "holds no recipe"),
        (("preview", "models/recipe.json"), 1, "not an API workflow"),
        (("inspect", "empty"), 1, 'no model in the folder "empty"'),
        (("verify", "."), 1, '"." cannot be opened'),
        (("optimize", "."), 1, '"." is a folder'),
        (
            ("analyze", "models/base.safetensors", "models", "--device", "cuda:9"),
            1,
            "no CUDA device",
        ),
        (
            ("analyze", "models/base.safetensors", "models", "--json", "none/x"),
            1,
            'for "x" does not',
        ),
        (
            ("analyze", BASE, "models", "--report", RECIPE),
            1,
            'the folder "recipe.json" cannot be made',
        ),
        (
            ("export", "models/recipe.json", "-o", "models/recipe.json/x"),
            1,
            'the folder for "x" does not exist',
        ),
        (
            (
                "merge",
                "models/recipe.json",
                "-o",
                "x.safetensors",
                "--report",
                "models/recipe.json",
            ),
            1,
            'the folder "recipe.json" cannot be made',
        ),
    ],
)
def test_exit_codes_and_messages(shell, models, arguments, code, says):
    write_recipe(models)
    Path("empty").mkdir()
    got, out, err = shell(*arguments)
    assert got == code
    assert says in out + err
    assert str(models) not in out + err
    assert "Traceback" not in err


def test_help_lists_every_command(shell):
    code, out, _ = shell("--help")
    assert code == 0
    for name in ("inspect", "analyze", "optimize", "merge", "export", "verify", "preview"):
        assert name in out


def test_inspect_tells_what_a_file_is(shell, models):
    code, out, _ = shell("inspect", "models", "--json")
    assert code == 0
    found = json.loads(out)
    assert [f["file"] for f in found] == sorted(p.name for p in models.glob("*.safetensors"))
    assert found[0]["dtypes"] == {"BF16": 6, "I64": 1}
    code, out, _ = shell("inspect", "models/detail.safetensors")
    assert "stored as BF16 (6), I64 (1)" in out


def test_inspect_against_a_base(shell, models):
    save_file({"other": torch.ones(2)}, models / "odd.safetensors")
    code, out, _ = shell("inspect", "models/detail.safetensors", "models/odd.safetensors",
                         "--base", "models/base.safetensors", "--json")  # fmt: skip
    assert code == 1
    found = json.loads(out)
    assert [m["name"] for m in found["models"]] == ["detail"]
    assert [m["name"] for m in found["skipped"]] == ["odd"]


def test_analyze_leaves_a_report_and_uses_its_cache(shell, models):
    arguments = ("analyze", "models/base.safetensors", "models/detail.safetensors",
                 "models/flash.safetensors", "--report", "report", "--json", "-")  # fmt: skip
    code, first, _ = shell(*arguments)
    assert code == 0
    assert (Path("report") / "report.md").stat().st_size > 0
    assert (Path("report") / "heatmaps.png").read_bytes().startswith(b"\x89PNG")
    assert any(Path("cache").rglob("*"))
    code, second, _ = shell(*arguments)
    assert json.loads(first) == json.loads(second)


def test_an_analysis_remembers_how_its_files_were_read(shell, models):
    arguments = ("models/base.safetensors", "models/detail.safetensors")
    code, _, _ = shell("analyze", *arguments, "--no-fix", "--json", "a.json", "-q")
    assert code == 0
    assert shell("optimize", "a.json", "-o", "models/r.json", "-q")[0] == 0
    recipe = json.loads(Path("models/r.json").read_text())
    assert recipe["repairs"]["fix_prefixes"] is False
    code, out, err = shell("merge", "models/r.json", "-o", "m.safetensors", "-q")
    assert code == 0 and "is not the file" not in out + err
    shell("analyze", *arguments, "--components", "diffusion", "--json", "d.json", "-q")
    shell("optimize", "d.json", "-o", "models/d.json", "-q")
    assert not loads(Path("models/d.json").read_text()).merges_parts


def test_export_gives_the_recipe_back(shell, models):
    write_recipe(models)
    shell("merge", "models/recipe.json", "-o", "out.safetensors")
    code, out, _ = shell("export", "out.safetensors")
    recipe = json.loads(out)
    assert code == 0 and recipe["rows"][0]["model"] == "detail"
    code, out, _ = shell("export", "models/recipe.json", "--format", "json", "-o", "copy.json")
    assert code == 0 and json.loads(Path("copy.json").read_text())["method"] == "task_arithmetic"


def test_export_for_sd_mecha_and_back(shell, models):
    write_recipe(models)
    code, _, _ = shell("export", "models/recipe.json", "--format", "mecha", "-o", "models/x.mecha")
    assert code == 0
    shell("merge", "models/recipe.json", "-o", "one.safetensors")
    code, _, err = shell("merge", "models/x.mecha", "-o", "two.safetensors")
    assert (code, err) == (0, "")
    one, two = load_file("one.safetensors"), load_file("two.safetensors")
    assert all(torch.equal(one[k], two[k]) for k in one)
    code, out, _ = shell("export", "models/recipe.json", "--format", "script")
    assert code == 0
    compile(out, "script", "exec")


def test_a_header_holds_sd_mechas_recipe_only_where_it_gives_the_same_tensors(shell, models):
    write_recipe(models)
    with_a_counter = load_file(models / "base.safetensors")
    assert any(not t.is_floating_point() for t in with_a_counter.values())
    shell("merge", "models/recipe.json", "-o", "counter.safetensors")
    for name in ("base", "detail", "flash"):
        tensors = load_file(models / f"{name}.safetensors")
        weights = {k: t for k, t in tensors.items() if t.is_floating_point()}
        save_file(weights, models / f"{name}.safetensors")
    shell("merge", "models/recipe.json", "-o", "weights.safetensors")
    with safe_open("counter.safetensors", "pt") as file:
        assert "mecha_recipe" not in file.metadata()  # sd-mecha would cast the integers
    with safe_open("weights.safetensors", "pt") as file:
        assert file.metadata()["mecha_recipe"].startswith("version")


def test_merge_leaves_a_report(shell, models):
    write_recipe(models)
    code, _, _ = shell("merge", "models/recipe.json", "-o", "out.safetensors", "--report", "report")
    assert code == 0
    assert "| detail |" in Path("report/out.md").read_text(encoding="utf-8")
    assert Path("report/out.png").read_bytes().startswith(b"\x89PNG")
