"""Help and wrong usage are answered without importing torch, which takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orthomerge_core.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from orthomerge_core.cli.app import run
try:
    run({arguments!r})
finally:
    print("torch" in sys.modules, "numpy" in sys.modules, file=sys.stderr)
"""
WRONG = [
    (["frobnicate"], 2, "No such command"),
    (["merge"], 2, "Missing argument"),
    (["merge", "r.json"], 2, "Missing option"),
    (["merge", "r.json", "-o", "x.safetensors", "--dtype", "int3"], 2, "Invalid value"),
    (["merge", "r.json", "s.json", "-o", "x.safetensors"], 2, "-o names a folder"),
    (["merge", "gone.json", "-o", "x.safetensors"], 1, '"gone.json" does not exist'),
    (["merge", "bad.json", "-o", "x.safetensors"], 1, "not JSON at line 1"),
    (["merge", "typo.json", "-o", "x.safetensors"], 1, "row 1, alpha: expected"),
    (["analyze", "base.safetensors"], 2, "Missing argument"),
    (["analyze", "b", "m", "--rank-samples", "-1"], 2, "Invalid value"),
    (["optimize", "a.json", "--redundancy", "much"], 2, "Invalid value"),
    (["export", "r.json", "--format", "yaml"], 2, "Invalid value"),
    (["export", "gone.json"], 1, "does not exist"),
    (["inspect"], 2, "Missing argument"),
    (["verify"], 2, "Missing argument"),
    (["preview", "gone.json"], 1, "does not exist"),
    (["preview", "bad.json"], 1, "is not JSON"),
]


def start(folder, *arguments):
    """Exit code, stdout, stderr, and whether torch and numpy were imported."""
    code = PROGRAM.format(root=str(ROOT), arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    *said, imported = done.stderr.splitlines()
    return done.returncode, done.stdout, "\n".join(said), imported


@pytest.mark.parametrize("command", ["", *app.commands])
def test_help_imports_no_torch(tmp_path, command):
    code, out, _, imported = start(tmp_path, *filter(None, [command]), "--help")
    assert code == 0
    assert out.startswith(f"Usage: orthomerge {command}")
    assert imported == "False False"


@pytest.mark.parametrize(("arguments", "code", "says"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_wrong_usage_imports_no_torch(tmp_path, arguments, code, says):
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    typo = {"base": "b.safetensors", "models": {}, "rows": [{"model": "a", "alpha": "x"}]}
    (tmp_path / "typo.json").write_text(json.dumps(typo), encoding="utf-8")
    got, _, err, imported = start(tmp_path, *arguments)
    assert (got, imported) == (code, "False False")
    assert says in err
