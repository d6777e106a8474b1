"""`pip install .` gives the command `orthomerge`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("orthomerge_core", "pyproject.toml", "README.md", "LICENSE")


def test_an_installation_gives_the_command(tmp_path):
    source, target = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-index", "--target", str(target), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

    command = target / "bin" / "orthomerge"
    here = {**os.environ, "PYTHONPATH": str(target)}
    says = subprocess.run(
        [command, "--help"], cwd=tmp_path, env=here, capture_output=True, text=True
    )
    assert says.stdout.startswith("Usage: orthomerge [OPTIONS]"), says.stderr
    assert list(target.glob("orthomerge_core/recipe/*.json")), "package data are missing"
