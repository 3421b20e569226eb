"""The process in which messages are answered: `python -m site_node.federate.worker`, apart from the DICOM receiver.

It loads torch once, closes the network, and forks for each task, so that a task begins within milliseconds and its
memory is gone with it. Its standard input is a socket: it writes one line of JSON when it is ready, then gets a socket
for each task (SCM_RIGHTS, unix(7)). On that the fork writes its process id and answers one frame with another. It
stays single-threaded, since a fork of a process with threads can hang, and ends with its input, its forks with it.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from base64 import b64encode
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

from shared.crypto.signing import SigningKey, VerifyKey
from shared.federation import records
from shared.federation.models.monai_networks import MONAI
from shared.federation.models.registry import build_model
from shared.federation.privacy import Charge, epsilon_of
from shared.federation.secure_sum import masks, vectors
from shared.federation.task import TrainingTask
from shared.ids import SiteId
from shared.protocol.loader import load_edition, protocol_names, protocol_with
from site_node.federate.client_app import app
from site_node.federate.frames import read_frame, write_frame
from site_node.federate.limits import Limits, close_network, end_with_parent, hold
from site_node.federate.packing import REFUSED, Packed, pack, unpack
from site_node.federate.site import CONTEXT_KEY, SiteContext
from site_node.federate.training import Samples, train


def main() -> None:
    """Be ready, then fork for each task until the input ends."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    network = close_network()
    warm_up()
    gc.freeze()  # a collection in a fork would write into, and so copy, the pages of all that is loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets forks that ended
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as owner:
        threads = len(list(Path("/proc/self/task").iterdir()))
        ready = {"network": network, "memory": sys.platform == "linux", "threads": threads}
        owner.sendall(json.dumps(ready).encode() + b"\n")
        while True:
            select.select([owner], [], [])
            word, handles, _, _ = socket.recv_fds(owner, 1, 1)
            if not word:
                return
            if os.fork() == 0:
                owner.close()
                _fork(handles[0])
            os.close(handles[0])


def warm_up() -> None:
    """Pay for what a fork would pay for anew: first steps of optimiser and ciphers, protocols, optional libraries."""
    key, secret, route = SigningKey.generate(), masks.new_secret(), (SiteId("100000"), SiteId("123456"))
    VerifyKey.parse(str(key.public)).verify(b"", key.sign(b""))
    channel = masks.Channel(secret, masks.public_of(secret), "")
    masks.open_parcel(channel, route, b"", masks.seal_parcel(channel, route, b"", b""))
    vectors.add_mask(np.zeros(1, np.uint64), secret)
    for name in protocol_names():
        protocol_with(load_edition(name).digest)
    if find_spec("monai") is not None:
        import_module(MONAI)
    if find_spec("opendp") is not None:
        import_module("opendp.prelude")
    if find_spec("opacus") is not None:
        epsilon_of([Charge(noise_multiplier=1, batches=2, steps=1)])
    task = TrainingTask(image_size=32)
    train(
        build_model(task),
        Samples(np.zeros((2, 32, 32), np.float32), np.array([0, 1]), np.arange(2)),
        task,
        server_round=1,
    )


def _fork(handle: int) -> None:
    """Answer one task and end the process."""
    code = 1
    try:
        end_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with socket.socket(fileno=handle) as line, line.makefile("rwb") as stream:
            stream.write(os.getpid().to_bytes(4, "big"))
            stream.flush()
            about, objects = read_frame(stream)
            hold(Limits.model_validate(about["limits"]))
            write_frame(stream, *perform(about, objects))
        code = 0
    finally:
        os._exit(code)  # nothing of the parent's is cleaned up twice


def perform(about: Mapping[str, Any], objects: Mapping[str, bytes]) -> tuple[dict[str, Any], Mapping[str, bytes]]:
    """Answer a message with the app: the frame of its result, or of the reason why there is none."""
    try:
        message = unpack(about["message"], objects)
    except (ValueError, KeyError, TypeError):
        return {"problem": REFUSED + "the message cannot be read"}, {}
    known = {CONTEXT_KEY: SiteContext.model_validate(about["known"])}
    run, node = message.metadata.run_id, message.metadata.dst_node_id
    reply = app(message, Context(run, node, known, RecordDict(), {}))
    packed = pack(reply)
    refused = reply.error.reason if reply.has_error() else None
    return _described(packed) | _asked(message) | {"refused": refused}, packed.objects


def _asked(message: Message) -> dict[str, str]:
    config = message.content.get(records.CONFIG) if message.has_content() else None
    fields = config if isinstance(config, ConfigRecord) else {}
    return {"plan": str(fields.get(records.PLAN, "")), "stage": str(fields.get(records.STAGE, ""))}


def _described(packed: Packed) -> dict[str, Any]:
    return {"head": b64encode(packed.head).decode(), "tree": b64encode(packed.tree).decode()}


if __name__ == "__main__":
    main()
