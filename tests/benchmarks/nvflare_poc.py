"""The round of `federation` beside NVFlare as its `poc` command sets it up: a server and a process for each site.

Both go under TLS with certificates for both sides. NVFlare's sites start a process for the job and keep it for all its
rounds, the first of which is not counted; ours fork for each message.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.federation import our_rounds
from tests.benchmarks.flower import listens
from tests.benchmarks.measure import Row, wait_until
from tests.factories.ports import free_ports

PYTHON = Path(".venv-nvflare/bin/python").absolute()
SITES = {4: 2, 16: 1}  # and how often the pair is measured in turn
ROUNDS = 3
START_SECONDS, JOB_SECONDS, END_SECONDS = 120, 240, 10
PORT = 8002  # that the command gives to the server
APP = """
import json
import time
from pathlib import Path
from nvflare.apis.controller_spec import Task
from nvflare.apis.executor import Executor
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable

class Asks(Controller):
    def __init__(self, sites, rounds, answer):
        super().__init__()
        self.about = sites, rounds, answer

    def control_flow(self, abort_signal, fl_ctx):
        sites, rounds, answer = self.about
        seconds = []
        for _ in range(1 + rounds):  # the first begins before every site is there
            start = time.perf_counter()
            for name in ("train", "evaluate"):
                task = Task(name=name, data=Shareable({"model": b"0"}))
                self.broadcast_and_wait(task, fl_ctx, min_responses=sites, abort_signal=abort_signal)
            seconds.append(time.perf_counter() - start)
        Path(answer).write_text(json.dumps(seconds[1:]))

    def start_controller(self, fl_ctx):
        pass

    def stop_controller(self, fl_ctx):
        pass

    def process_result_of_unknown_task(self, *_):
        pass

class Echo(Executor):
    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        return shareable
"""
SUBMIT = """
import sys
from nvflare.fuel.flare_api.flare_api import new_secure_session

kit, job, seconds = sys.argv[1:]
session = new_secure_session("admin@nvidia.com", kit, timeout=60.0)
try:
    ended, about = session.monitor_job_and_return_job_meta(session.submit_job(job), float(seconds), 0.5)
    if about is None or about["status"] != "FINISHED:COMPLETED":
        sys.exit(f"the job did not end well: {ended}, {about}")
finally:
    session.close()
"""


def rows() -> list[Row]:
    """A round of each number of sites; none where NVFlare is not installed."""
    if not PYTHON.with_name("nvflare").exists():
        sys.stdout.write("nvflare_poc: skipped, since nvflare is not installed in .venv-nvflare (make bench does)\n")
        return []
    table = []
    for sites, pairs in SITES.items():
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(pairs):
            seconds["ours"] += our_rounds(sites, 0, ROUNDS)
            seconds["theirs"] += their_rounds(sites, ROUNDS)
        ours, theirs = statistics.median(seconds["ours"]), statistics.median(seconds["theirs"])
        what = f"a round of {sites} sites, 0 MB"
        table.append(Row(what, 1 / ours, "rounds/s", f"NVFlare's POC: {theirs:.1f} s", theirs / ours))
    return table


def their_rounds(sites: int, rounds: int) -> list[float]:
    """Seconds of each round after the first."""
    with TemporaryDirectory() as name, poc(Path(name), sites) as kits:
        job, answer = Path(name) / "noop", Path(name) / "answer"
        write_job(job, sites=sites, rounds=rounds, answer=str(answer))
        command = [str(PYTHON), "-c", SUBMIT, str(kits / "admin@nvidia.com"), str(job), str(JOB_SECONDS)]
        subprocess.run(command, check=True, capture_output=True, timeout=JOB_SECONDS + START_SECONDS)
        seconds: list[float] = json.loads(answer.read_text(encoding="utf-8"))
    return seconds


def write_job(job: Path, **arguments: object) -> None:
    """A job's folder as NVFlare reads it, with its code."""
    asks, echo = ({"path": f"noop.{name}"} for name in ("Asks", "Echo"))
    files = {
        "meta.json": {"name": "noop", "deploy_map": {"app": ["@ALL"]}, "min_clients": arguments["sites"]},
        "app/config/config_fed_server.json": {
            "format_version": 2,
            "workflows": [{"id": "asks", **asks, "args": arguments}],
        },
        "app/config/config_fed_client.json": {
            "format_version": 2,
            "executors": [{"tasks": ["train", "evaluate"], "executor": {**echo, "args": {}}}],
        },
    }
    for name, content in files.items():
        (job / name).parent.mkdir(parents=True, exist_ok=True)
        (job / name).write_text(json.dumps(content), encoding="utf-8")
    (job / "app" / "custom").mkdir()
    (job / "app" / "custom" / "noop.py").write_text(APP, encoding="utf-8")


@contextmanager
def poc(folder: Path, sites: int) -> Iterator[Path]:
    """A server and sites on loopback, each ended with what it started; yields the folder of their start-up kits."""
    environment = os.environ | {"HOME": str(folder), "NVFLARE_POC_WORKSPACE": str(folder / "poc")}
    environment["PATH"] = f"{PYTHON.parent}:{environment['PATH']}"
    prepare = [str(PYTHON.with_name("nvflare")), "poc", "prepare", "-n", str(sites), "--force"]
    subprocess.run(prepare, env=environment, check=True, capture_output=True, timeout=START_SECONDS)
    kits, [port] = folder / "poc" / "example_project" / "prod_00", free_ports(1)
    for file in kits.glob("*/startup/fed_*.json"):
        text = file.read_text(encoding="utf-8").replace(f"server:{PORT}", f"localhost:{PORT}")
        file.write_text(text.replace(str(PORT), str(port)), encoding="utf-8")
    with ExitStack() as stack:

        def start(kind: str, name: str, *settings: str) -> None:
            module = f"nvflare.private.fed.app.{kind}.{kind}_train"
            about = ["-m", str(kits / name), "-s", f"fed_{kind}.json", "--set", "secure_train=true", *settings]
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [str(PYTHON), "-u", "-m", module, *about, "org=nvidia", "config_folder=config"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(end, process)

        start("server", "server")
        wait_until(lambda: listens(port), START_SECONDS)
        for number in range(sites):
            start("client", f"site-{number + 1}", f"uid=site-{number + 1}")
        yield kits


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and the processes of its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
