"""The host bridge: names, fingerprints, progress and errors."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from orthomerge_core.errors import FileError
from orthomerge_core.execute.plan.resolve import FolderResolver


def test_names_of_all_folders(host: ModuleType, folders: Path):
    assert host.readable_names() == [
        "base.safetensors",
        "checkpoints:base.safetensors",
        "sub/detail.safetensors",
        "sub/flash.safetensors",
    ]


def test_resolve_finds_both_files_of_one_name(host: ModuleType, folders: Path):
    own = folders / "diffusion_models" / "base.safetensors"
    assert host.resolve("base.safetensors") == own
    assert host.resolve("diffusion_models:base.safetensors") == own
    other = folders / "checkpoints" / "base.safetensors"
    assert host.resolve("checkpoints:base.safetensors") == other
    assert host.resolve("sub\\detail.safetensors").name == "detail.safetensors"


@pytest.mark.parametrize(
    "name", ["../diffusion_models/base.safetensors", "/etc/passwd", "nothing", "", "sub"]
)
def test_only_listed_names_resolve(host: ModuleType, errors: ModuleType, folders: Path, name: str):
    with pytest.raises(errors.FileError, match="no model file") as caught:
        host.resolve(name)
    assert str(folders) not in str(caught.value)


def test_near_misses(host: ModuleType, errors: ModuleType, folders: Path):
    with pytest.raises(errors.FileError, match=r'Did you mean "sub/detail\.safetensors"\?'):
        host.resolve("detail.safetensors")
    with pytest.raises(errors.FileError, match=r'Did you mean "sub/flash\.safetensors"\?'):
        host.resolve("sub/flesh.safetensors")


def test_suggestions_rank_by_folder_and_stem(host: ModuleType, errors: ModuleType, folders: Path):
    place = folders / "diffusion_models"
    for name in ("sub/flash-v2", "other/flash-v1", "flash_v1_but_long"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(errors.FileError) as caught:
        host.resolve("sub/flash-v1.safetensors")
    found = re.findall(r'"([^"]+)\.safetensors"', str(caught.value).partition("Did you mean")[2])
    assert found[:2] == ["other/flash-v1", "sub/flash-v2"]
    with pytest.raises(errors.FileError, match=r"Refresh the model lists \(R\) if the file is new"):
        host.resolve("zzzzzz.safetensors")


def test_pickles_resolve_so_that_the_reader_can_say_why_not(host: ModuleType, folders: Path):
    assert host.resolve("old.ckpt").name == "old.ckpt"
    assert "old.ckpt" not in host.readable_names()


def test_gguf_is_listed_beside_the_others(host: ModuleType, folders: Path):
    file = folders / "diffusion_models" / "sub" / "small.gguf"
    file.write_bytes(b"GGUF")
    assert "sub/small.gguf" in host.readable_names()
    assert host.resolve("sub/small.gguf") == file
    assert "sub/small.gguf" in host.siblings("sub/flash.safetensors")


def test_gguf_is_listed_once_where_its_loader_is_installed(host: ModuleType, folders: Path):
    import folder_paths

    (folders / "diffusion_models" / "small.gguf").write_bytes(b"GGUF")
    assert host.readable_names().count("small.gguf") == 1
    known = folder_paths.folder_names_and_paths
    known["unet_gguf"] = (known["diffusion_models"][0], {".gguf"})
    assert [name for name in host.readable_names() if "gguf" in name] == ["small.gguf"]


def test_siblings_stay_in_the_folder(host: ModuleType, folders: Path):
    assert host.siblings("sub/detail.safetensors") == ["sub/flash.safetensors"]
    assert host.siblings("base.safetensors") == []


def test_fingerprint_follows_size_and_mtime_and_hides_the_path(host: ModuleType, folders: Path):
    name = "sub/detail.safetensors"
    before = host.fingerprint([name])
    assert before == host.fingerprint([name])
    assert str(folders) not in before and len(before) == 64
    path = host.resolve(name)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert host.fingerprint([name]) != before
    assert host.fingerprint([name, "base.safetensors"]) != host.fingerprint([name])


def test_output_target_counts_up(host: ModuleType, folders: Path):
    path, shown = host.output_target("diffusion_models/My")
    assert shown == "diffusion_models/My_00001_.safetensors"
    assert path == folders / "output" / shown
    path.touch()
    assert host.output_target("diffusion_models/My")[1] == "diffusion_models/My_00002_.safetensors"


@pytest.mark.parametrize("prefix", ["", "../x", "a/../../x", "/x", "C:\\x", "a\\..\\..\\x"])
def test_output_target_stays_below_the_output_folder(
    host: ModuleType, errors: ModuleType, folders: Path, prefix: str
):
    with pytest.raises(errors.WriteError, match="output folder only"):
        host.output_target(prefix)


def test_guard_keeps_the_line_and_drops_the_traceback(host: ModuleType, errors: ModuleType):
    @host.guarded
    def work() -> None:
        raise errors.FileError('"x.safetensors" is cut off', fix="Download it again.")

    with pytest.raises(errors.FileError, match=r"cut off\. Download it again\.$") as caught:
        work()
    ours = [f.filename for f in traceback.extract_tb(caught.tb) if f.filename != __file__]
    assert ours == ["orthomerge/nodes/host/guard.py"]
    assert type(caught.value).__module__ == "orthomerge"
    assert caught.value.__cause__ is None


def test_guard_names_the_file_without_its_folder(host: ModuleType, errors: ModuleType):
    @host.guarded
    def work() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/home/someone/out.safetensors")

    with pytest.raises(errors.FileError, match=r'^"out\.safetensors": No space left') as caught:
        work()
    assert "/home" not in str(caught.value)


def test_guard_turns_cancelled_into_the_hosts_interrupt(host: ModuleType, errors: ModuleType):
    from comfy import model_management

    @host.guarded
    def work() -> None:
        model_management.interrupt_current_processing()
        raise errors.Cancelled

    with pytest.raises(model_management.InterruptProcessingException):
        work()
    assert not model_management.processing_interrupted()


def test_guard_lets_bugs_and_interrupts_pass(host: ModuleType):
    from comfy.model_management import InterruptProcessingException

    @host.guarded
    def work(error: BaseException) -> None:
        raise error

    for error in (InterruptProcessingException(), ZeroDivisionError()):
        with pytest.raises(type(error)):
            work(error)


def test_guarded_work_makes_plain_tensors(host: ModuleType):
    with torch.inference_mode():
        made = host.guarded(lambda: torch.ones(1))()
        assert not made.is_inference()
        assert not host.guarded(torch.is_grad_enabled)()


class Bar:
    """Stands in for the host's progress bar."""

    seen: list[tuple[int, int]] = []  # noqa: RUF012  reset by each test

    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.total = total

    def update_absolute(self, value: int, total: int) -> None:
        Bar.seen.append((value, total))


@pytest.fixture
def bar(pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> type[Bar]:
    import comfy.utils

    Bar.seen = []
    monkeypatch.setattr(comfy.utils, "ProgressBar", Bar)
    return Bar


@pytest.fixture
def lines(pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that were sent below the node."""
    import sys

    sent: list[str] = []
    instance = SimpleNamespace(send_progress_text=lambda text, node: sent.append(text))
    stub = SimpleNamespace(PromptServer=SimpleNamespace(instance=instance))
    monkeypatch.setitem(sys.modules, "server", stub)
    return sent


def test_progress_counts_in_thousandths_of_the_work(
    host: ModuleType, bar: type[Bar], lines: list[str]
):
    progress = host.HostProgress("7")
    progress.start(4e9, "Merging")
    progress.BAR_S = 0.0
    progress.advance(1e9)
    progress.advance(3e9)
    assert bar.seen == [(0, 1000), (250, 1000), (1000, 1000)]
    assert lines[0] == "Merging: 0%"


def test_progress_tells_the_time_left(host: ModuleType, bar: type[Bar], lines: list[str]):
    progress = host.HostProgress("7")
    progress.start(100.0, "Reading")
    progress.TEXT_S = 0.0
    progress._started = time.monotonic() - 10.0
    progress.advance(20.0)
    assert lines[-1] == "Reading: 20%, 40 s left"
    progress._started = time.monotonic() - 100.0
    progress.advance(0.0)
    assert lines[-1] == "Reading: 20%, 7 min left"


def test_progress_ends_with_the_time_it_took(host: ModuleType, bar: type[Bar], lines: list[str]):
    progress = host.HostProgress("7")
    progress.finish()
    assert not bar.seen and not lines
    progress.start(100.0, "Reading")
    progress.finish()
    assert bar.seen[-1] == (1000, 1000)
    assert lines[-1] == "Done in 0.0 s"


def test_stop_is_taken_by_the_nodes_thread_only(
    host: ModuleType, errors: ModuleType, bar: type[Bar], lines: list[str]
):
    from comfy import model_management

    progress = host.HostProgress("7")
    progress.start(10.0, "Merging")
    model_management.interrupt_current_processing()
    caught: list[BaseException] = []

    def worker() -> None:
        try:
            progress.advance(1.0)
        except errors.Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert model_management.processing_interrupted()
    with pytest.raises(model_management.InterruptProcessingException):
        progress.advance(1.0)
    assert not model_management.processing_interrupted()


def test_unknown_device_is_refused(host: ModuleType, errors: ModuleType):
    assert host.torch_device("cpu") == "cpu"
    with pytest.raises(errors.RecipeError, match='device "gpu"'):
        host.torch_device("gpu")


def test_weights_that_the_host_does_not_know(host: ModuleType, errors: ModuleType):
    with pytest.raises(errors.CompatibilityError, match="does not recognize these weights"):
        host.load_model({"a.weight": torch.ones(2, 2)}, {})


@pytest.mark.parametrize("name", ["sub/a.safetensors", "sub\\a.safetensors", "far/b.safetensors"])
def test_nodes_and_shell_find_the_same_file(host: ModuleType, folders: Path, name: str):
    models = folders / "diffusion_models"
    (models / "sub" / "a.safetensors").write_bytes(b"")
    (folders / "elsewhere").mkdir()
    (folders / "elsewhere" / "b.safetensors").write_bytes(b"")
    (models / "far").symlink_to(folders / "elsewhere", target_is_directory=True)
    assert host.resolve(name).samefile(FolderResolver([models])(name))


@pytest.mark.parametrize("name", ["sub/detial.safetensors", "flsh.safetensors", "zzz.safetensors"])
def test_nodes_and_shell_suggest_the_same_names(
    host: ModuleType, errors: ModuleType, folders: Path, name: str
):
    with pytest.raises(errors.FileError) as ours:
        host.resolve(name)
    with pytest.raises(FileError) as theirs:
        FolderResolver([folders / "diffusion_models"])(name)
    said = [str(error.value).partition("Did you mean ")[2] for error in (ours, theirs)]
    assert said[0] == said[1]
    assert bool(said[0]) == (name != "zzz.safetensors")


def test_a_folder_whose_drive_is_not_connected_is_named(
    host: ModuleType, errors: ModuleType, folders: Path
):
    import folder_paths

    paths, _ = folder_paths.folder_names_and_paths["checkpoints"]
    paths.append(str(folders / "nas" / "weights" / "checkpoints"))
    with pytest.raises(errors.FileError) as caught:
        host.resolve("far.safetensors")
    told = str(caught.value)
    assert "Not reachable: weights/checkpoints. Connect its drive" in told
    assert str(folders) not in told
    paths[-1] = str(folders / "checkpoints" / "not made yet")  # its parent is there
    with pytest.raises(errors.FileError) as caught:
        host.resolve("far.safetensors")
    assert "Not reachable" not in str(caught.value)
