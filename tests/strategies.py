"""Hypothesis strategies shared by the test suites."""


def showable_text(max_size: int = 12):
    """Any text that one line of a log can hold: no controls, no marks of direction."""
    from hypothesis import strategies as st

    from orthomerge_core.errors import is_showable

    characters = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")).filter(is_showable)
    return st.text(characters, max_size=max_size)


# io: headers


def layouts(max_size: int = 6):
    """name → (dtype name, shape) as a safetensors file may have them."""
    from hypothesis import strategies as st

    names = showable_text(12)
    dtypes = st.sampled_from(("BOOL", "U8", "F8_E4M3", "F16", "BF16", "I32", "F32", "F64", "I64"))
    shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
    keys = names.filter(lambda name: name != "__metadata__")
    return st.dictionaries(keys, st.tuples(dtypes, shapes), max_size=max_size)
