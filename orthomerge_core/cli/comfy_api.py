"""A minimal client of ComfyUI's HTTP interface; standard library only."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import OrthoMergeError, RecipeError, shown_value
from ..io.temp import replace_file, write_failure
from ..progress import Progress

__all__ = ["ComfyApi", "Run"]

_POLL_S = 0.25


@dataclass(frozen=True)
class Run:
    """Results of a prompt: images as ComfyUI names them, and texts of its nodes.

    `refused`: one sentence per node that ComfyUI did not run because its inputs were not valid.
    `outputs`: what each output node said, by its id.
    """

    prompt_id: str
    images: tuple[dict[str, str], ...]
    texts: tuple[str, ...]
    refused: tuple[str, ...] = ()
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class ComfyApi:
    """A running ComfyUI. Raises `OrthoMergeError` with ComfyUI's own reason."""

    def __init__(self, address: str) -> None:
        scheme = urllib.parse.urlsplit(address).scheme
        if scheme not in ("http", "https"):
            raise RecipeError(
                "address of ComfyUI",
                expected="http://host:port",
                received=shown_value(address),
                fix="Correct --api or COMFYUI_API.",
            )
        self._address = address.rstrip("/")

    def run(self, graph: dict[str, Any], progress: Progress, timeout_s: float) -> Run:
        """Post a prompt and follow it to its end; stopping here interrupts it there."""
        # Of nodes that it takes from its cache, ComfyUI tells the outputs to a named client only.
        posted = self._json("/prompt", {"prompt": graph, "client_id": uuid.uuid4().hex})
        if not isinstance(posted, dict) or "prompt_id" not in posted:
            raise _stranger()
        prompt_id = str(posted["prompt_id"])
        progress.start(float(len(graph)), "ComfyUI runs the workflow")
        try:
            entry = self._wait(prompt_id, progress, timeout_s)
        except BaseException:
            self._stop(prompt_id)
            raise
        return replace(_read_entry(prompt_id, entry), refused=tuple(_node_errors(posted)))

    def image(self, image: dict[str, str]) -> bytes:
        """The bytes of an image as a node named it."""
        query = urllib.parse.urlencode(
            {k: image.get(k, "") for k in ("filename", "subfolder", "type")}
        )
        return self._request(f"/view?{query}")

    def save(self, image: dict[str, str], folder: Path) -> Path:
        """Fetch an image into `folder` under its own name, numbered where that is taken."""
        data = self.image(image)
        name = PurePosixPath(image["filename"].replace("\\", "/")).name or "image.png"
        path, number = folder / name, 2
        while path.exists():
            path = folder / f"{Path(name).stem} ({number}){Path(name).suffix}"
            number += 1
        try:
            replace_file(path, data)
        except OSError as error:
            raise write_failure(path.name, error) from None
        return path

    def _wait(self, prompt_id: str, progress: Progress, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            entry = self._json(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry.get("status", {}).get("completed") is not None:
                return dict(entry)
            progress.check()
            time.sleep(_POLL_S)
        raise OrthoMergeError(
            f"ComfyUI did not finish within {timeout_s:g} s", fix="Give a longer --timeout."
        )

    def _stop(self, prompt_id: str) -> None:
        for path, body in (
            ("/queue", {"delete": [prompt_id]}),
            ("/interrupt", {"prompt_id": prompt_id}),
        ):
            with suppress(OrthoMergeError):
                self._request(path, body)

    def _json(self, path: str, body: Any = None) -> Any:
        try:
            return json.loads(self._request(path, body))
        except ValueError:
            raise _stranger() from None

    def _request(self, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._address + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise OrthoMergeError(_refusal(error.read()), fix="Correct the workflow.") from None
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            fix = "Start it, or name its address with --api or COMFYUI_API."
            raise OrthoMergeError("ComfyUI does not answer", fix=fix) from None


def _stranger() -> OrthoMergeError:
    fix = "Name ComfyUI's address with --api or COMFYUI_API."
    return OrthoMergeError("what answers at this address is not ComfyUI", fix=fix)


def _read_entry(prompt_id: str, entry: dict[str, Any]) -> Run:
    status = entry.get("status", {})
    if status.get("status_str") == "error":
        raise OrthoMergeError(_failure(status.get("messages", [])), fix="See ComfyUI's log.")
    said = entry.get("outputs", {})
    outputs = said.values()
    images = [image for output in outputs for image in output.get("images", [])]
    texts = [text for output in outputs for text in output.get("text", [])]
    return Run(prompt_id, tuple(images), tuple(str(text) for text in texts), outputs=said)


def _failure(messages: list[Any]) -> str:
    for kind, body in messages:
        if kind == "execution_error":
            reason = str(body.get("exception_message", "")).strip().split("\n")[0]
            return f"node {body.get('node_id')} ({body.get('node_type')}) failed: {reason}"
        if kind == "execution_interrupted":
            return "ComfyUI was told to stop"
    return "ComfyUI could not run the workflow"


def _refusal(body: bytes) -> str:
    """ComfyUI's validation errors in one line."""
    try:
        answer = json.loads(body)
        details = _node_errors(answer)
        return "; ".join(details) or f"ComfyUI refused it: {answer['error']['message']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "ComfyUI refused the request"


def _node_errors(answer: dict[str, Any]) -> list[str]:
    """One sentence per validation error of a node in ComfyUI's answer to a prompt."""
    return [
        f"node {key} ({node.get('class_type')}): {error['message']}, {error['details']}"
        for key, node in (answer.get("node_errors") or {}).items()
        for error in node.get("errors", [])
    ]
