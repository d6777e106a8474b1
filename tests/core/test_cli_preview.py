"""`preview` against a small HTTP server that answers like ComfyUI."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orthomerge_core.cli.app import run
from orthomerge_core.cli.comfy_api import ComfyApi
from orthomerge_core.cli.workflow_inputs import set_input
from orthomerge_core.errors import RecipeError

GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0]}},
    "4": {"class_type": "OrthoMixer", "inputs": {"table": ""}, "_meta": {"title": "Mixer"}},
}


class Comfy:
    """Holds what a test wants answered, and what was asked."""

    def __init__(self) -> None:
        self.posted: list[dict] = []
        self.polls = 0
        self.refusal: dict | None = None
        self.partly: dict = {}
        self.entry: dict = {
            "status": {"status_str": "success", "completed": True, "messages": []},
            "outputs": {
                "9": {"images": [{"filename": "x.png", "subfolder": "", "type": "temp"}]},
                "8": {"text": ["all is well"]},
            },
        }


@pytest.fixture
def comfy():
    state = Comfy()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.posted.append(body)
            if state.refusal:
                self.answer(400, json.dumps(state.refusal).encode())
            else:
                self.answer(200, json.dumps({"prompt_id": "p1", **state.partly}).encode())

        def do_GET(self) -> None:
            if self.path.startswith("/view"):
                self.answer(200, b"\x89PNG")
                return
            state.polls += 1
            done = {"p1": state.entry} if state.polls > 1 else {}
            self.answer(200, json.dumps(done).encode())

        def answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys, comfy):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMFYUI_API", comfy.url)
    Path("graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            run(["preview", "graph.json", *arguments])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


def test_images_are_saved_and_texts_shown(shell, comfy):
    code, out, err = shell("--set", "3.seed=7", "--set", 'Mixer.table={"version": 1}', "-o", "out")
    assert (code, err) == (0, "")
    assert out == "all is well\nSaved x.png\n"
    assert Path("out/x.png").read_bytes() == b"\x89PNG"
    graph = comfy.posted[0]["prompt"]
    assert comfy.posted[0]["client_id"]
    assert graph["3"]["inputs"] == {"seed": 7, "model": ["4", 0]}
    assert graph["4"]["inputs"] == {"table": '{"version": 1}'}


def test_a_second_image_of_that_name_is_numbered(shell, comfy):
    shell()
    comfy.polls = 0
    code, out, _ = shell("--json")
    found = json.loads(out)
    assert code == 0 and found["images"] == ["x (2).png"] and found["prompt_id"] == "p1"


def test_a_refusal_names_the_node(shell, comfy):
    error = {"message": "Custom validation failed", "details": "table - row 1: no model"}
    comfy.refusal = {"node_errors": {"4": {"class_type": "OrthoMixer", "errors": [error]}}}
    code, _, err = shell()
    assert code == 1
    assert "node 4 (OrthoMixer): Custom validation failed, table - row 1: no model" in err


def test_a_refused_node_beside_others_that_ran_is_a_failure(shell, comfy):
    error = {"message": "Value not in list", "details": "base: 'gone.safetensors'"}
    comfy.partly = {"node_errors": {"4": {"class_type": "OrthoModelSet", "errors": [error]}}}
    code, out, err = shell()
    assert code == 1 and "Saved x.png" in out
    assert err == "Not run: node 4 (OrthoModelSet): Value not in list, base: 'gone.safetensors'\n"


def test_a_failure_gives_comfyuis_reason(shell, comfy):
    body = {"node_id": "4", "node_type": "OrthoMixer", "exception_message": "no such model\nmore"}
    messages = [["execution_start", {}], ["execution_error", body]]
    comfy.entry = {"status": {"status_str": "error", "completed": False, "messages": messages}}
    code, _, err = shell()
    assert code == 1
    assert "node 4 (OrthoMixer) failed: no such model." in err


@pytest.mark.parametrize("answer", [b"<html>a router</html>", b"[]", b"{}"])
def test_somebody_else_there(shell, comfy, monkeypatch, answer):
    monkeypatch.setattr(ComfyApi, "_request", lambda *_: answer)
    code, _, err = shell()
    assert code == 1
    assert "what answers at this address is not ComfyUI. Name ComfyUI's address" in err


def test_what_is_given_up_neither_waits_nor_runs_there(shell, comfy, monkeypatch):
    asked = []
    real = ComfyApi._request
    monkeypatch.setattr(ComfyApi, "_request", lambda *a: asked.append(a[1:]) or real(*a))
    assert shell("--timeout", "0")[0] == 1
    assert ("/queue", {"delete": ["p1"]}) in asked and ("/interrupt", {"prompt_id": "p1"}) in asked


def test_nobody_there(shell):
    code, _, err = shell("--api", "http://127.0.0.1:9")
    assert code == 1
    assert "ComfyUI does not answer. Start it" in err
    code, _, err = shell("--api", "file:///etc/passwd")
    assert code == 1 and "expected http://host:port" in err
    code, _, err = shell("--api", "http://127.0.0.1:port")
    assert code == 1 and "ComfyUI does not answer" in err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("seed=1", "expected NODE.INPUT=VALUE"),
        ("3.seed", "expected NODE.INPUT=VALUE"),
        ("5.seed=1", 'no node "5"'),
        ("3.sed=1", 'no input "sed". Did you mean "seed"?'),
    ],
)
def test_wrong_changes(change, says):
    with pytest.raises(RecipeError) as caught:
        set_input(json.loads(json.dumps(GRAPH)), change)
    assert says in str(caught.value)


def test_values_are_json_or_text():
    graph = json.loads(json.dumps(GRAPH))
    set_input(graph, "OrthoMixer.table=hello world")
    assert graph["4"]["inputs"]["table"] == "hello world"
    set_input(graph, "KSampler.seed=2.5")
    assert graph["3"]["inputs"]["seed"] == 2.5


def test_a_text_input_stays_text():
    graph = json.loads(json.dumps(GRAPH))
    for text in ("7", "true", '["4", 0]', '{"version": 1}'):
        set_input(graph, f"Mixer.table={text}")
        assert graph["4"]["inputs"]["table"] == text


def edited(table, place, value):
    graph = {"1": {"class_type": "OrthoMixer", "inputs": {"table": table}}}
    set_input(graph, f"OrthoMixer.table.{place}={value}")
    return json.loads(graph["1"]["inputs"]["table"])


def test_a_row_of_the_table_is_changed_by_its_models_name():
    rows = [{"model": "a.b", "alpha": 1.0}, {"model": "detail", "layers": "x=1", "touched": []}]
    table = json.dumps({"version": 1, "rows": rows})
    assert edited(table, "rows.detail.alpha", "0.3")["rows"] == [
        rows[0],
        {"model": "detail", "layers": "x=1", "touched": ["alpha"], "alpha": 0.3},
    ]
    assert edited(table, "rows.a.b.alpha", "0.5")["rows"][0]["alpha"] == 0.5
    assert edited(table, "rows.1.layers", "7")["rows"][1]["layers"] == "7"
    assert edited(table, "version", "2")["version"] == 2
    assert edited("", "rows.detail.alpha", "0.3") == {
        "version": 1,
        "rows": [{"model": "detail", "alpha": 0.3, "touched": ["alpha"]}],
    }


@pytest.mark.parametrize(
    ("table", "place", "says"),
    [
        ("not JSON", "rows.a.alpha", 'input "OrthoMixer.table" holds no JSON text'),
        ('{"rows": []}', "rows.a.alhpa", 'has no "a" at this place'),
        ('{"rows": [{"model": "a"}]}', "rows.a.alhpa", 'no "alhpa" at this place. Did you mean'),
        ('{"rows": []}', "rows.3.alpha", 'has no "3" at this place'),
        ('{"rows": []}', "removed.a.alpha", 'has no "removed" at this place'),
        ('{"rows": 3}', "rows.alpha", 'has no "alpha" at this place'),
    ],
)
def test_places_that_the_table_does_not_have(table, place, says):
    with pytest.raises(RecipeError) as caught:
        edited(table, place, "1")
    assert says in str(caught.value)
