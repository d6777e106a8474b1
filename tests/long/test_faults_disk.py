"""Disks and folders that fail in earnest: full, read-only, gone. Each runs as root and as anybody.

Nothing here is skipped: a full disk is a small tmpfs in a mount namespace of its own where that is
allowed, and always a limit on the size of files; a read-only folder is met as an ordinary user.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file

from orthomerge_core.errors import FileChangedError, PlanError, WriteError
from orthomerge_core.execute.plan import destination as target_module
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.keys.setspec import ModelSpec, SetSpec
from orthomerge_core.progress import Progress
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import recipe_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX limits, users and mounts")

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
RECIPE = {
    "base": "base.safetensors",
    "models": {"a": "a.safetensors"},
    "rows": [{"model": "a"}],
    "method": "average",
    "output_dtype": "fp32",
}


class Then(Progress):
    """Does something once, when the merge has begun to move."""

    def __init__(self, action) -> None:
        self.action = action

    def advance(self, amount: float) -> None:
        action, self.action = self.action, lambda: None
        action()


@pytest.fixture
def shared(family) -> Iterator[Path]:
    """A folder that every user may enter, with the family's files; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="orthomerge-"))
    folder.chmod(0o755)
    for name, tensors in family.items():
        save_file(tensors, folder / f"{name}.safetensors")
        (folder / f"{name}.safetensors").chmod(0o644)
    (folder / "recipe.json").write_text(json.dumps(RECIPE), encoding="utf-8")
    (folder / "out").mkdir(mode=0o755)
    yield folder
    (folder / "out").chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Not root, whom no permission stops; back to root afterwards where the tests run as it."""
    if os.geteuid() != 0:
        yield
        return
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def spec_in(folder: Path) -> SetSpec:
    specs = [ModelSpec(n, f"{n}.safetensors", path=folder / f"{n}.safetensors") for n in "ab"]
    base = ModelSpec("base", "base.safetensors", path=folder / "base.safetensors")
    return SetSpec(base, tuple(specs))


def plan_in(folder: Path, target: Path):
    spec = spec_in(folder)
    return plan_merge(recipe_for(spec, Row("a"), Row("b")), spec, target=target)


def shell(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a process of its own, with the project importable."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def merge_command(folder: Path) -> list[str]:
    recipe, out = str(folder / "recipe.json"), str(folder / "out" / "merged.safetensors")
    return ["merge", recipe, "-o", out, "--no-cache", "--quiet"]


def test_a_file_that_may_not_grow_as_on_a_full_disk(shared: Path):
    """The system refuses bytes beyond a limit, which anybody can set; nothing is left."""
    script = """
import resource, signal, sys
from orthomerge_core.cli.app import run
from orthomerge_core.io import writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
run(sys.argv[1:])
"""
    done = shell(script, *merge_command(shared))
    assert done.returncode == 1, done.stderr
    assert '"merged.safetensors"' in done.stderr and "Traceback" not in done.stderr
    assert "too large" in done.stderr.lower() or "full" in done.stderr
    assert str(shared) not in done.stderr
    assert list((shared / "out").iterdir()) == []


def test_a_tmpfs_without_room(shared: Path):
    """In a mount namespace of its own: as root, or as root of a user namespace."""
    command = [sys.executable, "-m", "orthomerge_core", *merge_command(shared)]
    inside = (
        'mount -t tmpfs -o size=64k tmpfs "$0" || exit 77; head -c 60000 /dev/zero > "$0/filler"; '
        '"$@"; code=$?; ls -A "$0"; exit $code'
    )
    flags = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    unshare = shutil.which("unshare") or "unshare"
    try:
        done = subprocess.run(
            [unshare, *flags, "sh", "-c", inside, str(shared / "out"), *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        done = None
    if done is None or done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no mount namespace here; the limit on file sizes stands for the full disk")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith('Error: not enough room on the disk for "merged.safetensors"')
    assert done.stdout.split() == ["filler"]


def test_the_plan_knows_that_there_is_no_room(shared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(target_module, "free_bytes", lambda _: 1000)
    with pytest.raises(PlanError) as caught:
        plan_in(shared, shared / "out" / "merged.safetensors")
    assert str(caught.value) == (
        'not enough room on the disk for "merged.safetensors": expected 1 MiB, received 0 MiB '
        "free. Free some space, choose another folder, or a smaller output dtype."
    )


@pytest.mark.usefixtures("ordinary_user")
def test_a_read_only_folder_is_a_problem_of_the_plan(shared: Path):
    _make_read_only(shared / "out")
    with pytest.raises(PlanError, match=r'the folder for "merged.safetensors" is read-only'):
        plan_in(shared, shared / "out" / "merged.safetensors")
    assert list((shared / "out").iterdir()) == []


@pytest.mark.usefixtures("ordinary_user")
def test_a_folder_that_becomes_read_only_after_the_plan(
    shared: Path, monkeypatch: pytest.MonkeyPatch
):
    target = shared / "out" / "merged.safetensors"
    _make_read_only(shared / "out")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: True)  # as it was when the plan was made
        plan = plan_in(shared, target)
    with plan, pytest.raises(WriteError) as caught:
        run_merge(plan)
    assert '"merged.safetensors"' in str(caught.value) and "ermission" in str(caught.value)
    assert str(shared) not in str(caught.value)
    assert list((shared / "out").iterdir()) == []


def _make_read_only(folder: Path) -> None:
    if os.stat(folder).st_uid == os.geteuid():  # noqa: PTH116  the user's own folder
        folder.chmod(0o555)
    assert not os.access(folder, os.W_OK)


@pytest.mark.parametrize("how", ["rewritten", "shrunk", "vanished", "its folder vanished"])
@pytest.mark.parametrize("method", ["average", "orthomerge"])
def test_a_source_that_goes_wrong_in_mid_merge(shared: Path, family, how: str, method: str):
    models, out = shared / "models", shared / "out"
    models.mkdir()
    for name in ("base", "a", "b"):
        (shared / f"{name}.safetensors").rename(models / f"{name}.safetensors")
    victim, target = models / "b.safetensors", out / "merged.safetensors"

    def spoil() -> None:
        if how == "rewritten":
            save_file({k: t + 1 for k, t in family["b"].items()}, victim)
            os.utime(victim, ns=(1, 1))
        elif how == "shrunk":
            os.truncate(victim, 2000)
        elif how == "vanished":
            victim.unlink()
        else:
            models.rename(shared / "elsewhere")

    spec = spec_in(models)
    recipe = recipe_for(spec, Row("a"), Row("b"), method=method)
    with plan_merge(recipe, spec, target=target) as plan, pytest.raises(FileChangedError) as caught:
        run_merge(plan, progress=Then(spoil))
    file = "base" if how == "its folder vanished" else "b"
    assert str(caught.value).startswith(f'"{file}.safetensors" ')
    assert str(shared) not in str(caught.value)
    assert list(out.iterdir()) == []


def test_a_batch_goes_on_when_the_sources_of_one_are_gone(shared: Path):
    lost = RECIPE | {"models": {"a": "gone.safetensors"}}
    (shared / "lost.json").write_text(json.dumps(lost), encoding="utf-8")
    broken = shared / "broken.json"
    broken.write_text('{"base": ', encoding="utf-8")
    command = ["merge", *(str(shared / f"{n}.json") for n in ("lost", "broken", "recipe"))]
    command += ["-o", str(shared / "out"), "--no-cache", "--quiet", "--json"]
    done = shell("import sys; from orthomerge_core.cli.app import run; run(sys.argv[1:])", *command)
    results = json.loads(done.stdout)
    assert done.returncode == 1
    assert [r["ok"] for r in results] == [False, False, True]
    assert '"gone.safetensors" was not found' in results[0]["error"]
    assert "recipe is not JSON at line 1" in results[1]["error"]
    assert [p.name for p in (shared / "out").iterdir()] == ["recipe.safetensors"]
