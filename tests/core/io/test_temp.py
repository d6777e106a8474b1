"""What a killed process leaves is swept; what anybody still writes is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from orthomerge_core.io.temp import create_temp, remove_stale, replace_file
from orthomerge_core.io.writer import SafetensorsWriter

LAYOUT = {"w": ("F32", (4,))}
ROOT = Path(__file__).resolve().parents[3]
WRITE = """
import sys
from pathlib import Path
from orthomerge_core.io.writer import SafetensorsWriter
with SafetensorsWriter(Path(sys.argv[1]), {"w": ("F32", (4,))}, {}) as writer:
    print("begun", flush=True)
    sys.stdin.read()
"""
posix = pytest.mark.skipif(os.name == "nt", reason="open files cannot be removed there")


def unfinished(folder):
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".tmp")


@posix
def test_what_a_killed_process_left_is_swept_by_the_next_writer(tmp_path):
    target = tmp_path / "m [1] größe.safetensors"
    command = [sys.executable, "-c", WRITE, str(target)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, cwd=ROOT) as process:
        assert process.stdout.readline() == b"begun\n"
        (left,) = unfinished(tmp_path)
        with SafetensorsWriter(target, LAYOUT, {}):
            assert left in unfinished(tmp_path)  # its process lives
        process.send_signal(signal.SIGKILL)
    with SafetensorsWriter(target, LAYOUT, {}) as writer:
        assert left not in unfinished(tmp_path)
        writer.write("w", torch.ones(4))
        writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


@posix
def test_only_our_own_names_of_the_same_target_are_swept(tmp_path):
    kept = [".m.safetensors.tmp", ".other.safetensors.01234567.tmp", "m.safetensors.01234567.tmp"]
    kept += [".m.safetensors.0123456z.tmp", ".mxsafetensors.01234567.tmp"]
    for name in [*kept, ".m.safetensors.01234567.tmp"]:
        (tmp_path / name).touch()
    (tmp_path / ".m.safetensors.89abcdef.tmp").mkdir()
    remove_stale(tmp_path, "m.safetensors")
    assert set(unfinished(tmp_path)) == {*kept, ".m.safetensors.89abcdef.tmp"}
    remove_stale(tmp_path)
    assert ".other.safetensors.01234567.tmp" not in unfinished(tmp_path)


@posix
def test_a_file_that_is_being_written_stays_until_it_is_closed(tmp_path):
    path, file = create_temp(tmp_path / "m")
    with file:
        remove_stale(tmp_path)
        assert path.exists()
    remove_stale(tmp_path)
    assert not path.exists()


def test_a_folder_that_is_not_there_does_no_harm(tmp_path):
    remove_stale(tmp_path / "none", "m")
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize("stem", ["x" * 238, "é" * 119])
def test_a_name_of_any_length_that_the_system_takes(tmp_path, stem):
    """Its temporary file needs a name, too."""
    target = tmp_path / f"{stem}.safetensors"
    path, file = create_temp(target)
    with file:
        assert path.name.endswith(".tmp") and len(os.fsencode(path.name)) <= 255
    remove_stale(tmp_path, target.name)
    assert not path.exists()
    replace_file(target, b"1")
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
