"""Ctrl-C before anything has begun."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("after_s", [0.25, 0.5, 0.9])
def test_a_stop_while_libraries_are_loaded_is_one_line(after_s):
    process = subprocess.Popen(
        [sys.executable, "-m", "orthomerge_core", "inspect", "."],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err and len(err.splitlines()) <= 1
