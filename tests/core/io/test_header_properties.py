"""What holds for every header: it survives a round trip, and no change to it escapes as a crash."""

import json
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import deserialize

from orthomerge_core.errors import OrthoMergeError
from orthomerge_core.io.header import read_header
from orthomerge_core.io.writer import build_header
from tests.strategies import layouts

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def file_bytes(layout, metadata):
    head, infos = build_header(layout, metadata)
    return head + bytes(max((info.stop for info in infos.values()), default=len(head)) - len(head))


@given(layouts(), st.dictionaries(TEXT, TEXT, max_size=3))
@settings(max_examples=60, deadline=None)
def test_round_trip_and_agreement_with_safetensors(tmp_path_factory, layout, metadata):
    path = tmp_path_factory.mktemp("h") / "m.safetensors"
    data = file_bytes(layout, metadata)
    path.write_bytes(data)
    header = read_header(path)
    assert {k: (i.dtype, i.shape) for k, i in header.tensors.items()} == layout
    assert header.metadata == metadata
    theirs = {name: (view["dtype"], tuple(view["shape"])) for name, view in deserialize(data)}
    assert theirs == layout


@given(layouts(3), st.data())
@settings(max_examples=150, deadline=None)
def test_any_json_in_any_place_is_a_named_error_or_sound(tmp_path_factory, layout, data):
    tree = json.loads(build_header(layout, {"k": "v"})[0][8:])
    node = data.draw(st.sampled_from([tree, *(v for v in tree.values())]))
    key = data.draw(st.sampled_from([*node, "new"]))
    node[key] = data.draw(JSON)
    text = json.dumps(tree).encode()
    body = bytes(data.draw(st.integers(0, 600)))
    path = tmp_path_factory.mktemp("h") / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    try:
        header = read_header(path)
    except OrthoMergeError as error:
        message = str(error)
        assert message.encode() and "\n" not in message and str(path.parent) not in message
        return
    spans = sorted((info.start, info.stop) for info in header.tensors.values())
    ends = [header.data_start, *(stop for _, stop in spans)]
    assert [start for start, _ in spans] == ends[:-1] and ends[-1] == header.file_size


@given(st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_bytes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("h") / "m.safetensors"
    path.write_bytes(data)
    try:
        assert read_header(path).tensors == {}
    except OrthoMergeError as error:
        assert str(error).startswith(
            ('"m.safetensors"', "the header of", "the metadata of", "tens")
        )
