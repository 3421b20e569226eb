"""A model's state packs into one array and unpacks from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from shared.errors.inputs import InvalidArgument
from shared.federation.records import pack, unpack

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
