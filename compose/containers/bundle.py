"""Everything that a hospital without a network needs, in one folder, tried without a network: `make bundle`.

Wheels, images, constraints, compose file, units, the list of all packages (CycloneDX) and the SHA-256 of every file.
"""

import hashlib
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from compose.containers import images
from compose.containers.machine import ROOT, VERSION, StepFailed, call, image, missing
from compose.demo.progress import Steps

BUNDLE = ROOT / "dist" / f"ricord-{VERSION}"
SUMS = "SHA256SUMS"
FILES = (
    "constraints.txt",
    "LICENSE",
    "README.md",
    "compose/federation.yaml",
    "compose/haproxy.cfg",
    "compose/monitoring",
    "compose/systemd",
)
PROGRAMS = {
    "ricord-site": "site,console,monitoring",
    "ricord-coordinator": "coordinator,curation,monitoring",
}  # and their extras
_OFFLINE = ("unshare", "--net")


def main() -> int:
    """Build the bundle and try it; the exit code."""
    if reason := missing():
        print(f"make bundle: skipped: {reason}")
        return 0
    steps = Steps()
    try:
        images.build(steps)
        bundle(steps)
        install(steps)
    except StepFailed as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def bundle(steps: Steps) -> None:
    """Put the files together. Raises `StepFailed`."""
    shutil.rmtree(BUNDLE, ignore_errors=True)
    (BUNDLE / "images").mkdir(parents=True)
    with steps.step("Wheels, compose file, units") as notes:
        shutil.copytree(images.WHEELS, BUNDLE / "wheels")
        for name in FILES:
            (BUNDLE / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, BUNDLE / name)
        notes.append(f"{len(list((BUNDLE / 'wheels').iterdir()))} wheels")
    for name in images.OURS:
        with steps.step(f"Image {name} as a file") as notes:
            archive = BUNDLE / "images" / f"{name}.tar"
            call("podman", "save", "--quiet", "--format", "docker-archive", "--output", archive, image(name))
            call("zstd", "--quiet", "--rm", archive)
            notes.append(f"{archive.with_suffix('.tar.zst').stat().st_size / 1e6:.0f} MB")
    with (
        steps.step("Every package by name, version and licence, in CycloneDX") as notes,
        TemporaryDirectory() as folder,
    ):
        python = install_into(Path(folder), images.EXTRAS)
        tool = ROOT / ".venv-containers/bin/cyclonedx-py"
        call(tool, "environment", "--output-reproducible", "--output-file", BUNDLE / "sbom.cdx.json", python)
        packages = call("podman", "run", "--rm", "--network", "none", "--entrypoint", "dpkg-query", image("site"), "-W")
        (BUNDLE / "debian-packages.txt").write_text(packages)
        notes.append(f"{len(packages.splitlines())} packages of Debian in {BUNDLE.name}/debian-packages.txt")
    with steps.step("The SHA-256 of every file") as notes:
        files = sorted(path for path in BUNDLE.rglob("*") if path.is_file())
        (BUNDLE / SUMS).write_text("".join(f"{digest(path)}  {path.relative_to(BUNDLE)}\n" for path in files))
        notes.append(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB in {BUNDLE}")


def install(steps: Steps) -> None:
    """Install from the bundle where there is no network. Raises `StepFailed`."""
    with steps.step("Without a network: sums checked"):
        call("env", "-C", BUNDLE, *_OFFLINE, "sha256sum", "--quiet", "--check", SUMS)
    for program, extras in PROGRAMS.items():
        with steps.step(f"Without a network: {program} from the wheels") as notes, TemporaryDirectory() as folder:
            python = install_into(Path(folder), extras)
            notes.append(call(*_OFFLINE, python.with_name(program), "--version").strip())
    for name in images.OURS:
        with steps.step(f"Without a network: image {name} from its file") as notes, TemporaryDirectory() as folder:
            podman = ("podman", "--root", f"{folder}/images", "--runroot", f"{folder}/run")
            archive = Path(folder, "image.tar")
            call("zstd", "--quiet", "-d", BUNDLE / "images" / f"{name}.tar.zst", "-o", archive)
            call(*_OFFLINE, *podman, "load", "--quiet", "--input", archive)
            program = "ricord-site" if name.startswith("site") else "ricord-coordinator"
            words = ("--rm", "--network", "none", "--read-only", "--entrypoint", program, image(name), "--version")
            notes.append(call(*podman, "run", *words).strip())


def install_into(folder: Path, extras: str) -> Path:
    """Install our wheel and what it needs with these extras, without a network; the Python that has them."""
    python = folder / "venv/bin/python"
    call(sys.executable, "-m", "venv", folder / "venv")
    options = ("--quiet", "--no-index", "--find-links", BUNDLE / "wheels", "-c", BUNDLE / "constraints.txt")
    call(*_OFFLINE, python, "-m", "pip", "install", *options, f"ricord-federation[{extras}]")
    return python


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
