"""The wire's definition and the code made from it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "shared" / "proto"


def test_the_generated_code_is_fresh() -> None:
    """`generate.py --check` finds nothing to write."""
    result = subprocess.run(
        [sys.executable, str(PROTO / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_definition_follows_the_standard_rules() -> None:
    """The protocol buffers pass Buf's STANDARD rules without an exception."""
    buf = Path(sysconfig.get_path("scripts")) / "buf"
    result = subprocess.run([str(buf), "lint", str(PROTO)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
