"""The configuration, rules and dashboard that we ship work on what we show: Prometheus itself reads and judges it."""

import json
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, generate_latest

from coordinator.home.init import open_home_store
from coordinator.monitoring.endpoint import monitored
from coordinator.monitoring.figures import CoordinatorFigures
from shared.monitoring.settings import MonitorSettings
from site_node.home.free_space import FreeSpace
from site_node.monitoring.figures import NodeFigures
from site_node.monitoring.watch import Watch
from tests.factories.federation import make_federation
from tests.factories.ports import free_port
from tests.peers import needs_peer

SHIPPED = Path(__file__).resolve().parents[2] / "compose" / "monitoring"
NAME = re.compile(r"ricord_[a-z_]+")
END = 2 * 86400  # seconds that are played
STEPS = END // 1800

# By alert: a series that raises it, and one that does not; `time()` begins at 0 in promtool.
SERIES = {
    "SiteDown": ('up{job="ricord-site"}', "0", "1"),
    "SiteStuck": ('ricord_site_silence_seconds{doing="waiting"}', "61", "59"),
    "SiteDiskNearlyFull": ("ricord_site_disk_free_bytes", "99", "101"),
    "SiteCertificateEnds": (
        "ricord_site_certificate_end_timestamp_seconds",
        f"{END + 6 * 86400}",
        f"{END + 8 * 86400}",
    ),
    "SiteReachesNobody": ("ricord_site_coordinator_contact_timestamp_seconds", f"{END - 3700}", f"{END - 3500}"),
    "SiteLogContradicted": ("ricord_site_log_contradicted", "1", "0"),
    "SiteStudiesWaitForAPerson": ('ricord_site_studies{place="quarantined",reason="x"}', "1", "0"),
    "SitePacsRefuses": ('ricord_site_associations_ended{reason="x"}', "", "50"),
    "SitePlanWaits": ('ricord_site_plans{state="pending"}', "1", "0"),
    "CoordinatorDown": ('up{job="ricord-coordinator"}', "0", "1"),
    "CoordinatorCertificateEnds": (
        'ricord_coordinator_certificate_end_timestamp_seconds{certificate="root"}',
        f"{END + 13 * 86400}",
        f"{END + 15 * 86400}",
    ),
    "CoordinatorDiskNearlyFull": ("ricord_coordinator_disk_free_bytes", "9e9", "11e9"),
    "SiteSilent": (
        'ricord_coordinator_site_contact_timestamp_seconds{site="100001"}',
        f"{END - 3700}",
        f"{END - 3500}",
    ),
    "SequenceGap": ('ricord_coordinator_missing_sequence_numbers{site="100001"}', "2", "0"),
    "WithdrawalUnfinished": ('ricord_coordinator_unfinished_withdrawals{missing="purge"}', "1", "0"),
    "RunFailed": ('ricord_coordinator_runs{state="failed"}', "", "3"),
}
GROWING = {"SitePacsRefuses": f"0+20x{STEPS}", "RunFailed": f"0+1x{STEPS}"}  # judged by their increase


def rules() -> dict[str, dict[str, object]]:
    groups = yaml.safe_load((SHIPPED / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.mark.parametrize("raised", [True, False])
def test_each_alert_is_raised_by_what_it_names_and_by_nothing_less(tmp_path: Path, raised: bool) -> None:
    """Promtool plays two days of each series; a rule without a series here fails, too."""
    promtool = needs_peer("promtool", "prometheus")
    assert set(SERIES) == set(rules())
    reserve = {"series": "ricord_site_disk_reserve_bytes", "values": f"100x{STEPS}"}
    tests = []
    for alert, (series, high, low) in SERIES.items():
        values = GROWING.get(alert, f"{high}x{STEPS}") if raised else f"{low}x{STEPS}"
        query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
        expected = [{"labels": "{}", "value": 1}] if raised else []
        tests.append(
            {
                "interval": "30m",
                "input_series": [{"series": series, "values": values}, reserve],
                "promql_expr_test": [{"expr": query, "eval_time": f"{END}s", "exp_samples": expected}],
            }
        )
    file = tmp_path / "tests.yml"
    file.write_text(
        json.dumps({"evaluation_interval": "30m", "rule_files": [str(SHIPPED / "alerts.yml")], "tests": tests})
    )
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_figure_that_is_asked_for_is_shown(tmp_path: Path) -> None:
    """By an alert or a panel; a figure without its program would be an alert that never comes."""
    federation, registry = make_federation(tmp_path), CollectorRegistry()
    with federation.serving(), closing(open_home_store(federation.home, federation.settings)) as store:
        federation.curator()
        home, _ = federation.site("Alpha")
        watch = Watch(home)
        watch.reached()
        watch.working()
        registry.register(NodeFigures(home, FreeSpace(home.folder, 1), watch))
        registry.register(CoordinatorFigures(federation.home, store))
        text = generate_latest(registry).decode()
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    asked = {name for file in ("alerts.yml", "grafana.json") for name in NAME.findall((SHIPPED / file).read_text())}
    assert {name.removesuffix("_bucket") for name in asked} <= shown
    advice = " ".join(str(rule["annotations"]) for rule in rules().values())
    assert "ricord-site health" in advice


def test_prometheus_scrapes_as_configured(tmp_path: Path) -> None:
    """The file that we ship, with other ports, brings a coordinator's figures into a running Prometheus."""
    federation, port = make_federation(tmp_path), free_port()
    with (
        closing(open_home_store(federation.home, federation.settings)) as store,
        monitored(MonitorSettings(port=port), federation.home, store),
        prometheus(tmp_path, port) as address,
    ):
        until = time.monotonic() + 90
        while not (answer := query(address, 'up{job="ricord-coordinator"} == 1')):
            assert time.monotonic() < until
            time.sleep(0.2)
        assert answer[0]["metric"]["instance"] == f"127.0.0.1:{port}"
        [events] = query(address, "ricord_coordinator_audit_events")
    assert float(events["value"][1]) >= 1


def query(address: str, expression: str) -> list[dict[str, Any]]:
    try:
        url = f"http://{address}/api/v1/query?query={urllib.parse.quote(expression)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return list(json.load(answer)["data"]["result"])
    except OSError:  # it starts
        return []


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[str]:
    """Its address, until the block ends."""
    program, address = needs_peer("prometheus"), f"127.0.0.1:{free_port()}"
    config = (SHIPPED / "prometheus.yml").read_text().replace("9465", str(port)).replace("30s", "1s")
    (folder / "prometheus.yml").write_text(config)
    (folder / "alerts.yml").write_bytes((SHIPPED / "alerts.yml").read_bytes())
    command = [
        *(program, f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={address}"),
        f"--storage.tsdb.path={folder / 'data'}",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
