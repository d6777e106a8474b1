import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import RecipeError
from orthomerge_core.recipe.layers import MAX_LAYER_RULES, parse_layers


@pytest.mark.parametrize(
    ("text", "key", "block", "weight"),
    [
        ("", "double_blocks.7.img.weight", "double_blocks.7", 1.0),
        ("double_blocks.0-9=0.5", "double_blocks.7.img.weight", "double_blocks.7", 0.5),
        ("double_blocks.0-9=0.5", "double_blocks.10.img.weight", "double_blocks.10", 1.0),
        ("double_blocks.0-9=0.5, default=0", "single_blocks.1.x", "single_blocks.1", 0.0),
        ("default=0, double_blocks.0-9=0.5", "double_blocks.0.x", "double_blocks.0", 0.5),
        ("double_blocks.1=0.5", "double_blocks.10.x", "double_blocks.10", 1.0),
        ("double_blocks=0.5", "double_blocks.10.x", "double_blocks.10", 0.5),
        ("double_blocks.0-3.img_attn=2", "double_blocks.2.img_attn.qkv", "double_blocks.2", 2.0),
        ("*attn*=0\n double_blocks.2=3", "double_blocks.2.img_attn.qkv", "double_blocks.2", 0.0),
        ("*attn*=0\n double_blocks.2=3", "double_blocks.2.mlp.0", "double_blocks.2", 3.0),
        ("final_layer=-1e-1", "final_layer.linear.weight", "final_layer", -0.1),
        ("img_in.weight=2", "img_in.weight", "img_in", 2.0),
        ("input_blocks.4=0.25", "model.input_blocks.4.0.w", "input_blocks.4", 0.25),
    ],
)
def test_weights(text: str, key: str, block: str, weight: float):
    assert parse_layers(text).weight(key, block) == weight


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("double_blocks", '"double_blocks" is not a pair'),
        ("=1", '"=1" is not a pair'),
        ("a=x", "weight of \"a\": expected a finite number, received 'x'"),
        ("a=nan", "expected a finite number"),
        ("a=inf", "expected a finite number"),
        ("a.9-0=1", "runs backwards. Write 0-9"),
        (",".join(f"a{i}=1" for i in range(MAX_LAYER_RULES + 1)), "too many pairs"),
    ],
)
def test_errors_name_the_pair(text: str, says: str):
    with pytest.raises(RecipeError) as caught:
        parse_layers(text)
    assert says in str(caught.value)


def test_unused_patterns_are_named():
    layers = parse_layers("blocks.0=1, blcks.1=2, *attn*=0")
    assert layers.unused([("blocks.0.w", "blocks.0")]) == ("blcks.1", "*attn*")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str):
    try:
        weight = parse_layers(text).weight("blocks.0.w", "blocks.0")
    except RecipeError:
        return
    assert weight == weight  # finite, never NaN
    assert abs(weight) != float("inf")
