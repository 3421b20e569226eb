"""What a message of a run holds: one plan, one array, a few numbers.

A model's state is packed into one float32 array, because Flower moves every array as two objects over HTTP (28 MB as
727 tensors took 63 s, packed 1.75 s). The order is the state's own, which both sides take from the same model.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors.inputs import InvalidArgument

Vector = npt.NDArray[np.float32]  # one dimension
Shapes = Mapping[str, tuple[int, ...]]

ARRAYS = "arrays"  # Flower's own names of the records of a message, which its strategies use
CONFIG = "config"
METRICS = "metrics"
STATE = "state"  # the one array in ARRAYS
PLAN = "plan"  # in CONFIG: JSON of the signed plan
ROUND = "server-round"  # in CONFIG: set by Flower's strategies, from 1
STAGE = "stage"  # in CONFIG of a query: which step of the statistics
READY = "ready"  # a stage before all others, of a query: whether the site takes part, or has yet to decide
PAYLOAD = "payload"  # in CONFIG of a query and of its answer: bytes
EXAMPLES = "num-examples"  # in METRICS: the weight in averages
AUC, LOSS = "auc", "loss"
LOW, HIGH = "auc-low", "auc-high"  # the ends of the 95 % interval of AUC
FIGURES = "reported"  # in METRICS: 1 when the site's own figures are sent, 0 when they are withheld and sent as 0

WAITS = "SITE_WAITS: "  # how the reason begins for which a site has not decided on a run yet


def pack(state: Mapping[str, npt.NDArray[np.float32]]) -> Vector:
    """All arrays of a state, flattened, one after the other in the mapping's order."""
    return np.concatenate([np.asarray(array, dtype=np.float32).ravel() for array in state.values()])


def unpack(vector: Vector, shapes: Shapes) -> dict[str, npt.NDArray[np.float32]]:
    """The inverse of `pack`, by the shapes of the same model.

    Raises `InvalidArgument` when the vector has another length or holds a value that is not finite.
    """
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    if vector.ndim != 1 or vector.size != sum(sizes):
        raise InvalidArgument(name="model state", problem=f"its length is not {sum(sizes)}")
    check_finite(vector)
    parts = np.split(np.asarray(vector, dtype=np.float32), np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def npy_vector(data: bytes, length: int) -> Vector:
    """The vector of `length` that `np.save` wrote as `data`, compared and not parsed: it may come from a liar.

    Raises `InvalidArgument` on any other kind or length, and when it holds a value that is not finite.
    """
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (length,)})
    if not data.startswith(head.getvalue()) or len(data) != len(head.getvalue()) + 4 * length:
        raise InvalidArgument(name="model state", problem=f"it is not an array of {length} float32 values")
    vector = np.frombuffer(data, dtype="<f4", offset=len(head.getvalue()))
    check_finite(vector)
    return vector


def check_finite(vector: Vector) -> None:
    """Raise `InvalidArgument` when the vector holds a value that is not finite."""
    if not np.isfinite(vector).all():
        raise InvalidArgument(name="model state", problem="it holds values that are not numbers")


def payload_of(content: Mapping[str, Mapping[str, Any]]) -> bytes | None:
    """The bytes of an answer to a step of a secure sum: a field, or the data of an array, which Flower cuts up."""
    field = content.get(CONFIG, {}).get(PAYLOAD)
    payload = field if field is not None else getattr(content.get(ARRAYS, {}).get(STATE), "data", None)
    return payload if isinstance(payload, bytes) else None
