"""A real ComfyUI as a child process, and the few API calls that demo and tests make.

Standard library only. The host has its own base folder (models, output, user, custom_nodes), so the
person's own ComfyUI is never touched.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .env import ROOT

__all__ = ["ApiError", "ComfyHost", "PromptError"]

PACK_FOLDER = "orthomerge-studio"


class ApiError(Exception):
    """The server answered with an error status; `body` is its JSON (or text)."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body
        super().__init__(f"HTTP {status}: {json.dumps(body)[:2000]}")


class PromptError(Exception):
    """A queued prompt ended in an error or an interrupt; `entry` is its history entry."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry
        events = [m for m in entry["status"]["messages"] if m[0].startswith("execution_")]
        last = events[-1][1] if events else {}
        self.message = str(last.get("exception_message", events[-1][0] if events else "failed"))
        self.kind = events[-1][0] if events else ""
        super().__init__(self.message.strip())


class ComfyHost:
    """Starts ComfyUI on the CPU with this pack (and more custom nodes, if given).

    Args:
        comfy_dir: where main.py lies. base_dir: models, output and user data go there.
        frontend: static files of another frontend release. custom_nodes: folders to add.
    """

    def __init__(
        self,
        comfy_dir: Path,
        base_dir: Path,
        *,
        port: int | None = None,
        frontend: Path | None = None,
        custom_nodes: Sequence[Path] = (),
        with_pack: bool = True,
        arguments: Sequence[str] = (),
    ) -> None:
        self.comfy_dir, self.base_dir = comfy_dir, base_dir
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = base_dir / f"comfyui-{self.port}.log"
        self._frontend, self._arguments = frontend, tuple(arguments)
        self._nodes = [*custom_nodes, *([ROOT] if with_pack else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 180.0) -> ComfyHost:
        """Start and wait until the server answers."""
        for folder in ("models", "output", "input", "temp", "user", "custom_nodes"):
            (self.base_dir / folder).mkdir(parents=True, exist_ok=True)
        for path in self._nodes:
            name = PACK_FOLDER if path == ROOT else path.name
            _link(path, self.base_dir / "custom_nodes" / name)
        command = [sys.executable, "main.py", "--port", str(self.port)]
        command += ["--base-directory", str(self.base_dir), "--disable-auto-launch"]
        database = (self.base_dir / "user" / "comfyui.db").as_posix()
        command += ["--database-url", f"sqlite:///{database}", *self._arguments]
        if _no_gpu():
            command.append("--cpu")
        if self._frontend:
            command += ["--front-end-root", str(self._frontend)]
        command.append("--disable-api-nodes")
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.comfy_dir, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_up(timeout_s)
        return self

    def _wait_until_up(self, timeout_s: float) -> None:
        assert self._process is not None  # noqa: S101  set by start
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                self.get("/system_stats")
                return
            except (OSError, ApiError):
                time.sleep(0.25)
        tail = self.log_path.read_text(errors="replace")[-4000:]
        self.stop()
        raise RuntimeError(f"ComfyUI did not start; the end of its log:\n{tail}")

    @property
    def pid(self) -> int:
        """Process number of the running server."""
        if self._process is None:
            raise RuntimeError("ComfyUI is not running")
        return self._process.pid

    def stop(self) -> None:
        """End the server and wait for it."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def wait(self) -> None:
        """Block until the server ends by itself."""
        if self._process:
            self._process.wait()

    def __enter__(self) -> ComfyHost:
        return self if self._process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log(self) -> str:
        """What the server printed so far."""
        return self.log_path.read_text(errors="replace")

    def get(self, path: str) -> Any:
        """GET JSON."""
        return json.loads(self.raw(path))

    def raw(self, path: str, data: bytes | None = None) -> bytes:
        """GET, or POST where `data` is given; raises `ApiError` on an error status."""
        request = urllib.request.Request(self.url + path, data=data)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            body = error.read().decode(errors="replace")
            try:
                raise ApiError(error.code, json.loads(body)) from None
            except json.JSONDecodeError:
                raise ApiError(error.code, body) from None

    def post(self, path: str, value: Any) -> Any:
        """POST JSON; returns JSON, or None for an empty answer."""
        answer = self.raw(path, json.dumps(value).encode())
        return json.loads(answer) if answer.strip() else None

    def queue(self, graph: dict[str, Any], targets: Sequence[str] = ()) -> str:
        """Post an API graph; returns the prompt id. `targets` limits it to these output nodes."""
        body: dict[str, Any] = {"prompt": graph}
        if targets:
            body["partial_execution_targets"] = list(targets)
        return str(self.post("/prompt", body)["prompt_id"])

    def result(self, prompt_id: str, timeout_s: float = 300.0) -> dict[str, Any]:
        """Wait for a queued prompt; its history entry, or `PromptError`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry:
                if entry["status"]["status_str"] != "success":
                    raise PromptError(entry)
                return dict(entry)
            time.sleep(0.05)
        raise TimeoutError(f"prompt {prompt_id} did not end in {timeout_s:.0f} s")

    def prompt(
        self, graph: dict[str, Any], targets: Sequence[str] = (), timeout_s: float = 300.0
    ) -> dict[str, Any]:
        """Post an API graph and wait for it."""
        return self.result(self.queue(graph, targets), timeout_s)

    def interrupt(self) -> None:
        """Stop what runs now."""
        self.post("/interrupt", {})

    def image(self, item: dict[str, str]) -> bytes:
        """The bytes of an image named in a history entry's outputs."""
        return self.raw("/view?" + urllib.parse.urlencode(item))

    @staticmethod
    def cached_nodes(entry: dict[str, Any]) -> set[str]:
        """Ids of the nodes that a finished prompt took from the cache."""
        found: set[str] = set()
        for kind, data in entry["status"]["messages"]:
            if kind == "execution_cached":
                found |= set(data["nodes"])
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _no_gpu() -> bool:
    import torch

    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def _link(source: Path, target: Path) -> None:
    """Symlink a pack into custom_nodes; a junction on Windows, a copy where neither is allowed."""
    if target.is_symlink() or target.exists():
        if target.resolve() == source.resolve():
            return
        target.unlink() if target.is_symlink() else shutil.rmtree(target)
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        if os.name == "nt":
            import _winapi

            _winapi.CreateJunction(str(source), str(target))
        else:
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns(".venv", ".git", ".cache")
            )
