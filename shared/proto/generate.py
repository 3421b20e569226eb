"""Make the Python of the `.proto` files: `generate.py` writes it, `--check` says whether it is fresh.

The compiler writes absolute imports from its own root (`from ricord.v1 import ...`); here the root is the package
`shared.proto`, so those lines are rewritten.
"""

import argparse
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
PACKAGE = Path("ricord/v1")
_IMPORT = re.compile(r"\b(from|import) ricord\.v1\b")
_REFERENCE = re.compile(r"(?<![\w./])ricord\.v1\.(?=\w+_pb2)")


def generate(target: Path) -> dict[str, str]:
    """Compile every proto into `target`; the rewritten text of each file by its name."""
    sources = [str(PACKAGE / source.name) for source in sorted((ROOT / PACKAGE).glob("*.proto"))]
    scripts = Path(sysconfig.get_path("scripts"))
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the files above")
    written = sorted((target / PACKAGE).glob("*_pb2*.py*"))
    return {file.name: rewritten(file.read_text(encoding="utf-8")) for file in written}


def rewritten(text: str) -> str:
    """The same code, importing from `shared.proto.ricord.v1`."""
    text = _IMPORT.sub(r"\1 shared.proto.ricord.v1", text)
    return _REFERENCE.sub("shared.proto.ricord.v1.", text)


def stale(fresh: dict[str, str], folder: Path) -> list[str]:
    """Names that are missing, different or left over in `folder`."""
    committed = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*_pb2*.py*")}
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def main() -> int:
    """Write or check; exit code 1 when `--check` finds stale code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the committed code is stale")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
    names = stale(fresh, ROOT / PACKAGE)
    for name in names:
        sys.stdout.write(f"{'stale' if check else 'written'}: {name}\n")
        if not check:
            _write(ROOT / PACKAGE / name, fresh.get(name))
    return 1 if check and names else 0


def _write(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
