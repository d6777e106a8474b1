"""A process that is told to end, or is killed: nothing that it leaves is taken for a result."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.execute.test_faults import merged_files
from tests.core.test_cli import models, write_recipe

__all__ = ["models"]

ROOT = Path(__file__).resolve().parents[2]


def test_kill_leaves_no_result(on_disk, tmp_path):
    """A killed process cannot clean up, but what it leaves is never taken for a result."""
    on_disk()
    script = f"""
import json, sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from orthomerge_core.execute import run
from orthomerge_core.cli.app import app
real = run.content_hash
def slow(items):
    print("writing", flush=True)
    time.sleep(30)
run.content_hash = slow
folder = Path({str(tmp_path)!r})
recipe = {{"base": "base.safetensors", "models": {{"a": "a.safetensors"}},
          "rows": [{{"model": "a"}}], "method": "average"}}
(folder / "recipe.json").write_text(json.dumps(recipe))
app(["merge", str(folder / "recipe.json"), "-o", str(folder / "merged.safetensors"), "--no-cache"])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
        process.stdout.close()
    assert not (tmp_path / "merged.safetensors").exists()
    left = [name for name in merged_files(tmp_path) if name != "recipe.json"]
    assert all(name.startswith(".merged.safetensors.") and name.endswith(".tmp") for name in left)


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a word")
def test_being_told_to_end_leaves_nothing_half_written(models):
    """As on Ctrl-C; the signal comes once the temporary file is there."""
    recipe = write_recipe(models)
    script = """
import os, signal, sys
from orthomerge_core.cli import merge
from orthomerge_core.cli.app import run
from orthomerge_core.execute.output.sinks import FileSink
def write(self, *_):
    os.kill(os.getpid(), signal.SIGTERM)
FileSink.write_flat = write
run(sys.argv[1:])
"""
    command = [sys.executable, "-c", script, "merge", str(recipe), "-o", str(models / "out.sft")]
    done = subprocess.run(
        [*command, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1 and "Stopped." in done.stderr and "Traceback" not in done.stderr
    assert not any("out" in path.name for path in models.iterdir())
