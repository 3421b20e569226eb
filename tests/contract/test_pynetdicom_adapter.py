"""What our upper layer replaces and uses of pynetdicom's internals, checked against the versions it knows."""

import ast
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from pynetdicom import AE, _config, evt, fsm
from pynetdicom.association import MODE_REQUESTOR, Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from site_node.network import upper_layer

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = "site_node/network/upper_layer.py"
DOCUMENTED = {  # what pynetdicom's manual offers to applications
    "pynetdicom": {"AE", "evt", "PYNETDICOM_IMPLEMENTATION_UID", "PYNETDICOM_IMPLEMENTATION_VERSION"},
    "pynetdicom.association": {"Association"},
    "pynetdicom.dimse_primitives": {"C_STORE"},
    "pynetdicom.events": {"Event"},
    "pynetdicom.pdu_primitives": {"SCP_SCU_RoleSelectionNegotiation"},
    "pynetdicom.presentation": {
        "AllStoragePresentationContexts", "PresentationContext", "StoragePresentationContexts", "build_context",
        "build_role",
    },
    "pynetdicom.sop_class": {"Verification"},
    "pynetdicom.status": {"code_to_category"},
}  # fmt: skip
INTERNAL_ATTRIBUTES = {"dul", "dimse", "acse", "requestor", "acceptor", "event_queue", "msg_queue", "to_user_queue"}


def internals(source: str) -> Iterator[str]:
    """Every use of pynetdicom's internals: imports, subclasses, and attributes that its manual does not offer."""
    tree = ast.parse(source)
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if f"{alias.name}.".startswith("pynetdicom."))
        elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("pynetdicom."):
            imported |= {alias.asname or alias.name for alias in node.names}
            allowed = DOCUMENTED.get(node.module or "", set())
            yield from (alias.name for alias in node.names if alias.name not in allowed)
    for node in ast.walk(tree) if imported else ():
        if isinstance(node, ast.ClassDef):
            yield from (base.id for base in node.bases if isinstance(base, ast.Name) and base.id in imported)
        elif isinstance(node, ast.Attribute):
            owned = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            private = node.attr.startswith("_") and not node.attr.startswith("__") and not owned
            if private or node.attr in INTERNAL_ATTRIBUTES:
                yield node.attr


def test_only_the_upper_layer_uses_pynetdicoms_internals() -> None:
    """Every other module uses what pynetdicom documents, so an upgrade is reviewed in one place."""
    users = {
        str(path.relative_to(ROOT))
        for program in ("site_node", "coordinator", "shared", "compose")
        for path in (ROOT / program).rglob("*.py")
        if any(internals(path.read_text()))
    }
    assert users == {ADAPTER}


@pytest.mark.parametrize(
    "line",
    [
        "import pynetdicom.dul",
        "import pynetdicom as p",
        "from pynetdicom import _config",
        "from pynetdicom._handlers import standard_pdu_recv_handler",
        "from pynetdicom.dimse_primitives import C_MOVE",
        "from pynetdicom import AE\nclass Ours(AE): ...",
        "from pynetdicom import AE\nAE().associate()._kill",
        "from pynetdicom import AE\nAE().associate().dul",
    ],
)
def test_every_use_of_internals_is_seen(line: str) -> None:
    """The law above is not passed by another form."""
    assert list(internals(line))
    assert not list(internals("from pynetdicom import AE\nAE().associate()"))


def test_the_installed_pynetdicom_is_one_the_upper_layer_knows() -> None:
    """A new pynetdicom fails here until somebody reviews its internals again."""
    assert version("pynetdicom") in upper_layer.KNOWN_VERSIONS


OVERRIDDEN: dict[tuple[type, type], dict[str, list[str]]] = {
    (upper_layer.Connection, AssociationSocket): {
        "connect": ["self", "primitive"],
        "ready": ["self"],
        "recv": ["self", "nr_bytes"],
        "send": ["self", "bytestream"],
        "_shutdown_socket": ["self"],
    },
    (upper_layer.Caller, AE): {
        "__init__": ["self", "ae_title"],
        "_create_socket": ["self", "assoc", "address", "tls_args"],
    },
    (upper_layer.Dimse, DIMSEServiceProvider): {
        "get_msg": ["self", "block"],
        "receive_primitive": ["self", "primitive"],
        "send_msg": ["self", "primitive", "context_id"],
    },
    (upper_layer.Handler, RequestHandler): {"handle": ["self"]},
    (upper_layer.Server, ThreadedAssociationServer): {
        "__init__": ["self", "ae", "address", "ae_title", "contexts", "ssl_context", "evt_handlers", "request_handler"],
        "get_request": ["self"],
        "verify_request": ["self", "request", "client_address"],
        "close_request": ["self", "request"],
        "process_request_thread": ["self", "request", "client_address"],
    },
}


@pytest.mark.parametrize(("ours", "theirs"), sorted(OVERRIDDEN, key=str))
def test_what_is_overridden_is_there_and_takes_the_same(ours: type, theirs: type) -> None:
    """Each method that we replace has the parameters it was written for, and no other of ours hides one of theirs."""
    methods = {name: value for name, value in vars(ours).items() if isinstance(value, FunctionType | property)}
    replaced = {name for name in methods if hasattr(theirs, name)}
    assert replaced == set(OVERRIDDEN[ours, theirs])
    for name, parameters in OVERRIDDEN[ours, theirs].items():
        method = inspect.getattr_static(theirs, name)
        function: Any = method.fget if isinstance(method, property) else method
        assert list(inspect.signature(function).parameters) == parameters, name


def test_every_subclass_is_in_the_table() -> None:
    """A further subclass is reviewed, too."""
    subclasses = {
        value
        for value in vars(upper_layer).values()
        if inspect.isclass(value) and value.__module__ == upper_layer.__name__
    }
    assert subclasses == {ours for ours, _ in OVERRIDDEN}


def test_the_attributes_that_are_used_are_there() -> None:
    """An association has the queues, the delay and the handlers that we read, set or remove."""
    association = Association(AE(), MODE_REQUESTOR)
    assert isinstance(association.dul, DULServiceProvider)
    assert isinstance(association.dimse, DIMSEServiceProvider)
    assert association.dul._run_loop_delay == upper_layer._POLL_SECONDS
    for name in ("event_queue", "to_user_queue", "kill_dul", "send_pdu", "socket"):
        assert hasattr(association.dul, name), name
    assert hasattr(association.acceptor, "primitive")
    assert all(hasattr(A_ASSOCIATE(), name) for name in ("result", "result_source", "diagnostic"))
    for name in ("msg_queue", "message"):
        assert hasattr(association.dimse, name), name
    for event, handler in upper_layer._STANDARD_HANDLERS:
        assert handler in [bound for bound, *_ in association.get_handlers(event)], event
    assert isinstance(_config.STORE_SEND_CHUNKED_DATASET, bool)
    message = C_STORE_RQ()
    assert (message.encoded_command_set.tell(), message.data_set.tell()) == (0, 0)


def test_a_socket_has_what_the_connection_uses() -> None:
    """The socket that we replace sets these; for one that is open it raises Evt5, which our handler takes away."""
    source = inspect.getsource(AssociationSocket.__init__)
    assert all(f"self.{name}" in source for name in ("socket", "_is_connected", "_tls_args"))
    assert source.count('event_queue.put("Evt5")') == 1
    assert isinstance(AssociationSocket.tls_args, property)
    assert list(inspect.signature(RequestHandler._create_association).parameters) == ["self"]
    assert "server_class" in inspect.signature(AE.make_server).parameters


@pytest.mark.parametrize("event", [upper_layer._CLOSED, upper_layer._INVALID])
def test_the_events_that_we_raise_are_known(event: str) -> None:
    """In every state with an open association the state machine has an action for them."""
    assert event in fsm.EVENTS
    assert (event, "Sta6") in fsm.TRANSITION_TABLE


def test_an_event_has_its_association() -> None:
    """`send_at_once` is called with the association whose socket it sets."""
    association = Association(AE(), MODE_REQUESTOR)
    assert evt.Event(association, evt.EVT_CONN_OPEN, {}).assoc is association
