"""A model's state packs into one array and unpacks from it."""

import io
from typing import Any

import numpy as np
import pytest
from flwr.app import Array
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from shared.errors.inputs import InvalidArgument
from shared.federation.records import npy_vector, pack, payload_of, unpack

states = st.dictionaries(
    st.text(min_size=1, max_size=5),
    arrays(np.float32, array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e6, 1e6, width=32)),
    min_size=1,
    max_size=5,
)


@given(states)
def test_unpack_is_the_inverse_of_pack(state: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> None:
    """Whatever the shapes, the arrays come back under their names."""
    back = unpack(pack(state), {name: array.shape for name, array in state.items()})
    assert list(back) == list(state)
    assert all((back[name] == array).all() for name, array in state.items())


@pytest.mark.parametrize(
    "vector", [np.zeros(5, np.float32), np.zeros((2, 3), np.float32), np.array([1, 2, 3, 4, 5, np.nan], np.float32)]
)
def test_a_state_that_is_not_this_models_is_refused(vector: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    """A vector of another length or number of dimensions, or with a value that is not a number, is refused."""
    with pytest.raises(InvalidArgument):
        unpack(vector, {"weight": (2, 3)})


def saved(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(st.lists(st.floats(-1e6, 1e6, width=32), max_size=9))
def test_a_vector_is_read_as_numpy_wrote_it(values: list[float]) -> None:
    """Of the length that is asked for, and of no other."""
    vector = np.array(values, np.float32)
    assert npy_vector(saved(vector), len(values)).tobytes() == vector.tobytes()
    for length in (len(values) + 1, len(values) - 1):
        with pytest.raises(InvalidArgument):
            npy_vector(saved(vector), length)


VECTOR = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize(
    "data",
    [
        saved(VECTOR.astype(np.float64)),
        saved(VECTOR.reshape(2, 3)),
        saved(VECTOR.astype(">f4")),
        saved(VECTOR)[:-1],
        saved(VECTOR) + b"\x00",
        saved(VECTOR)[1:],
        saved(np.array([0, 1, 2, 3, 4, np.inf], np.float32)),
        saved(np.array([np.nan, 1, 2, 3, 4, 5], np.float32)),
        b"",
    ],
)
def test_what_a_liar_writes_as_a_vector_is_not_parsed(data: bytes) -> None:
    """Another kind, shape, order or length, a byte more or less, and what is no number."""
    with pytest.raises(InvalidArgument):
        npy_vector(data, 6)


def test_a_payload_is_bytes_of_a_field_or_of_an_array() -> None:
    """The field counts where there are both; anything else is none."""
    array = Array("uint8", (3,), "bytes", b"two")
    assert payload_of({"config": {"payload": b"first"}, "arrays": {"state": array}}) == b"first"
    assert payload_of({"arrays": {"state": array}}) == b"two"
    none: tuple[dict[str, dict[str, Any]], ...] = (
        {}, {"config": {}}, {"config": {"payload": "text"}}, {"arrays": {"other": array}},
    )  # fmt: skip
    assert {payload_of(content) for content in none} == {None}
