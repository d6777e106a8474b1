"""The only file that imports comfy.*, folder_paths and server.

Paths, progress, errors, devices, and the way from a state dict to a MODEL and back. Where releases
of ComfyUI differ, the difference ends here. Modules of the host are imported inside the functions,
so that the pack registers quickly and its schemas can be looked at without a loaded torch backend.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..orthomerge_core import errors
from ..orthomerge_core.io.opening import is_readable_name
from ..orthomerge_core.progress import Progress

__all__ = [
    "DEVICES",
    "HostProgress",
    "cache_dir",
    "explain",
    "fingerprint",
    "free_memory",
    "guarded",
    "load_model",
    "metadata_allowed",
    "names",
    "output_folder",
    "output_target",
    "readable_names",
    "resolve",
    "siblings",
    "torch_device",
    "weight_keys",
    "weight_value",
]

logger = logging.getLogger(__name__)

FOLDERS = ("diffusion_models", "checkpoints", "unet_gguf")
DEVICES = ("auto", "cpu")
PREFIX = "diffusion_model."
_Returned = TypeVar("_Returned")


# --- files -------------------------------------------------------------------------------------


def names() -> dict[str, tuple[str, str]]:
    """Shown name → (folder key, the host's name) of every file in the registered weight folders.

    Shown names use `/` on every system. A name that an earlier folder already has is shown as
    `folder:name`.
    """
    import folder_paths

    found: dict[str, tuple[str, str]] = {}
    for folder in FOLDERS:
        if folder not in folder_paths.folder_names_and_paths:
            continue
        for name in folder_paths.get_filename_list(folder):
            shown = name.replace(os.sep, "/")
            found[f"{folder}:{shown}" if shown in found else shown] = (folder, name)
    return found


def readable_names() -> list[str]:
    """What a list offers: the names of files that can be read as weights, sorted."""
    return sorted(name for name in names() if is_readable_name(name))


def resolve(name: str) -> Path:
    """The file behind a shown name. Only names that a registered folder lists can be opened.

    Raises: FileError with the nearest names where there is none.
    """
    import folder_paths

    known = names()
    wanted = name.strip().replace("\\", "/")
    for folder in FOLDERS:
        if wanted not in known and wanted.startswith(f"{folder}:"):
            wanted = wanted[len(folder) + 1 :]
    if wanted not in known:
        raise errors.FileError(
            f'no model file "{name.strip()}" in the model folders',
            fix=_near(wanted, [n for n in known if is_readable_name(n)]),
        )
    path = folder_paths.get_full_path(*known[wanted])
    if path is None:
        raise errors.FileChangedError(
            f'"{wanted}" is listed but no longer there',
            fix="Refresh the model lists (R) and choose it again.",
        )
    return Path(path)


def _near(wanted: str, known: Sequence[str]) -> str:
    """Near misses; a bare file name finds the same file in a sub-folder first."""
    tails = [n for n in known if n.rsplit("/", 1)[-1] == wanted.rsplit("/", 1)[-1]]
    if tails:
        return f'Did you mean "{tails[0]}"? '.strip()
    if not known:
        return "Put weights into models/diffusion_models or models/checkpoints first."
    return errors.did_you_mean(wanted, list(known))


def siblings(name: str) -> list[str]:
    """Readable files of the same registered folder and sub-folder as `name`, without it."""
    known = names()
    path = resolve(name)
    folder = next((f for n, (f, _) in known.items() if n == name), None)
    head = name.rsplit("/", 1)[0] + "/" if "/" in name else ""
    return sorted(
        other
        for other, (where, _) in known.items()
        if where == folder
        and is_readable_name(other)
        and other.startswith(head)
        and "/" not in other[len(head) :]
        and resolve(other) != path
    )


def fingerprint(files: Sequence[str]) -> str:
    """Hash over path, size and mtime of each file. A hash, because ComfyUI's history shows it."""
    import hashlib

    digest = hashlib.sha256()
    for name in files:
        try:
            path = resolve(name)
            stat = path.stat()
            line = f"{name}|{os.path.realpath(path)}|{stat.st_size}|{stat.st_mtime_ns}"
        except (errors.FileError, OSError):
            line = f"{name}|absent"
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def cache_dir(*parts: str) -> Path:
    """A private folder in the host's user directory, made when missing."""
    import folder_paths

    if hasattr(folder_paths, "get_system_user_directory"):
        root = Path(folder_paths.get_system_user_directory("orthomerge"))
    else:
        root = Path(folder_paths.get_user_directory()) / "__orthomerge"
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def output_target(prefix: str, suffix: str = ".safetensors") -> tuple[Path, str]:
    """A new file below the output folder: its path, and its name relative to that folder.

    Raises: WriteError for a prefix that leads out of the output folder.
    """
    import folder_paths

    root = folder_paths.get_output_directory()
    clean = prefix.strip().replace("\\", "/")
    if not clean or clean.startswith("/") or ":" in clean or ".." in clean.split("/"):
        raise errors.WriteError(
            f'filename prefix "{prefix}"',
            expected="a relative name such as diffusion_models/OrthoMerge",
            fix="Results are stored below ComfyUI's output folder only.",
        )
    folder, name, counter, sub, _ = folder_paths.get_save_image_path(clean, root)
    file = f"{name}_{counter:05}_{suffix}"
    return Path(folder) / file, f"{sub}/{file}".replace(os.sep, "/").lstrip("/")


def output_folder(name: str) -> Path:
    """A folder below the output folder, made when missing."""
    import folder_paths

    folder = Path(folder_paths.get_output_directory()) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def metadata_allowed() -> bool:
    """False under `--disable-metadata`."""
    from comfy.cli_args import args

    return not getattr(args, "disable_metadata", False)


# --- progress and errors ---------------------------------------------------------------------


class HostProgress(Progress):
    """Progress of one node: the bar, one line with the time left, and the stop button.

    Interrupts are looked at on every call; messages go out at most every 0.1 s (bar) and 0.5 s
    (text), from the thread that made this object.
    """

    BAR_S, TEXT_S = 0.1, 0.5

    def __init__(self, node_id: str | None) -> None:
        self._node, self._thread = node_id, threading.get_ident()
        self._total, self._done, self._label = 1.0, 0.0, ""
        self._started = self._bar_at = self._text_at = time.monotonic()
        self._bar: Any = None

    def start(self, total: float, label: str) -> None:
        """A step of `total` bytes or FLOPs begins."""
        from comfy.utils import ProgressBar

        self._total, self._done, self._label = max(float(total), 1.0), 0.0, label
        self._started = time.monotonic()
        self._bar_at = self._text_at = 0.0
        self._bar = ProgressBar(1000, node_id=self._node)
        self.advance(0.0)

    def advance(self, amount: float) -> None:
        """`amount` more is done."""
        self.check()
        self._done += amount
        if threading.get_ident() != self._thread:
            return
        now = time.monotonic()
        share = min(self._done / self._total, 1.0)
        if self._bar is not None and (now - self._bar_at >= self.BAR_S or share >= 1.0):
            self._bar_at = now
            self._bar.update_absolute(round(1000 * share), 1000)
        if now - self._text_at >= self.TEXT_S:
            self._text_at = now
            self.note(f"{self._label}: {share:.0%}{self._time_left(share, now)}")

    def check(self) -> None:
        """Raise the host's interrupt, or `Cancelled` on another thread than the node's own.

        The host forgets the interrupt once it is raised, so only the node's thread may raise it.
        """
        from comfy import model_management

        if threading.get_ident() == self._thread:
            model_management.throw_exception_if_processing_interrupted()
        elif model_management.processing_interrupted():
            raise errors.Cancelled

    def note(self, text: str) -> None:
        """One line under the node."""
        module = sys.modules.get("server")  # absent where something else embeds ComfyUI
        server = getattr(getattr(module, "PromptServer", None), "instance", None)
        if server is not None and self._node is not None:
            server.send_progress_text(text, self._node)

    def _time_left(self, share: float, now: float) -> str:
        spent = now - self._started
        if share <= 0.01 or spent < 1.0:
            return ""
        left = spent * (1.0 - share) / share
        return f", {left:.0f} s left" if left < 90 else f", {left / 60:.0f} min left"


def guarded(execute: Callable[..., _Returned]) -> Callable[..., _Returned]:
    """Run a node's work with plain tensors, and turn its errors into what the host understands.

    Errors of ours keep their one line and lose their traceback, whose file names would show the
    person's disk to API clients; it goes to the log at debug level. `Cancelled` becomes the host's
    interrupt. Errors of the operating system name the file without its folder. Everything else is
    a bug and passes untouched.
    """

    @functools.wraps(execute)
    def safely(*args: Any, **kwargs: Any) -> _Returned:
        from comfy.model_management import InterruptProcessingException

        try:
            # Worker threads do not inherit inference mode, and may then not write its tensors.
            with torch.inference_mode(False), torch.no_grad():
                return execute(*args, **kwargs)
        except errors.Cancelled:
            _forget_interrupt()
            raise InterruptProcessingException from None
        except errors.OrthoMergeError as error:
            logger.debug("%s", error, exc_info=True)
            raise error.with_traceback(None) from None
        except OSError as error:
            logger.debug("%s", error, exc_info=True)
            raise _plain(error) from None

    # The one frame of ours that is left in such a traceback carries no folder either.
    safely.__code__ = safely.__code__.replace(co_filename="orthomerge/nodes/host.py")
    return safely


def explain(check: Callable[[], object]) -> bool | str:
    """What `validate_inputs` returns: True, or the one line of what is wrong."""
    try:
        check()
    except errors.OrthoMergeError as error:
        return str(error)
    return True


def _forget_interrupt() -> None:
    from comfy import model_management

    model_management.interrupt_current_processing(False)


def _plain(error: OSError) -> errors.FileError:
    name = Path(str(error.filename)).name if error.filename else "a file"
    reason = error.strerror or type(error).__name__
    return errors.FileError(
        f'"{name}": {reason}', fix="Check the file and the disk, then run again."
    )


# --- devices and models ----------------------------------------------------------------------


def torch_device(choice: str) -> str:
    """`cpu`, or for `auto` the device that the host would use."""
    if choice not in DEVICES:
        raise errors.RecipeError(f'device "{choice}"', fix=errors.did_you_mean(choice, DEVICES))
    if choice == "cpu":
        return "cpu"
    from comfy import model_management

    return str(model_management.get_torch_device())


def free_memory(n_bytes: float, device: str) -> None:
    """Ask the host to make room on `device`; nothing to do for the CPU."""
    if device == "cpu":
        return
    from comfy import model_management

    model_management.free_memory(n_bytes, torch.device(device))
    model_management.soft_empty_cache()


def load_model(state_dict: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> Any:
    """A MODEL from a complete state dict; the dict is emptied on the way.

    Raises: CompatibilityError where the host does not know the architecture.
    """
    import comfy.sd

    model = comfy.sd.load_diffusion_model_state_dict(state_dict, metadata=dict(metadata))
    if model is None:
        raise errors.CompatibilityError(
            "ComfyUI does not recognise these weights as a diffusion model",
            fix="Choose a complete diffusion model as the base, and update ComfyUI if it is new.",
        )
    return model


def weight_keys(model: Any) -> dict[str, torch.Tensor]:
    """Name (without the host's prefix) → stored tensor of a MODEL's diffusion model; no copies.

    The module's own tensors, not those of its state dict: quantised layers are packed apart there.
    """
    inner = model.model
    found: dict[str, torch.Tensor] = {}
    for key, packed in model.model_state_dict(PREFIX).items():
        module, _, field = key.rpartition(".")
        stored = getattr(inner.get_submodule(module), field, None)
        found[key[len(PREFIX) :]] = stored if isinstance(stored, torch.Tensor) else packed
    return found


def weight_value(model: Any, key: str) -> torch.Tensor:
    """One tensor of a MODEL as float32 on the CPU, with its patches; the MODEL is not changed.

    Where another clone is loaded with its patches in place, the unpatched original is used.
    """
    import comfy.lora
    from comfy.model_patcher import get_key_weight

    full = PREFIX + key
    stored, _, convert = get_key_weight(model.model, full)
    if full in model.backup:
        stored = model.backup[full].weight
    weight = _dequantised(stored).to(device="cpu", dtype=torch.float32, copy=True)
    if convert is not None:
        weight = convert(weight, inplace=True)
    patches = model.patches.get(full)
    return comfy.lora.calculate_weight(patches, weight, full) if patches else weight


def _dequantised(stored: torch.Tensor) -> torch.Tensor:
    """Quantised wrappers of the host give their own values; plain tensors pass."""
    if type(stored).__name__ == "QuantizedTensor":
        return stored.dequantize()
    return stored
