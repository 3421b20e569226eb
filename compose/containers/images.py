"""Our images, and those of Debian's PostgreSQL and Orthanc, made where no image can be pulled: `make images`.

A base of Debian's packages (debootstrap), all wheels built here and installed in the images without an index.
"""

import shutil
import sys
from pathlib import Path

from compose.containers.machine import BASE, BUILD, ROOT, StepFailed, call, image, missing
from compose.demo.progress import Steps

WHEELS = BUILD / "wheels"
EXTRAS = "site,console,monitoring,otlp,coordinator,s3,curation,federation,models,privacy"
OURS = {"site": "site", "site-training": "site", "coordinator": "coordinator", "curator": "curator"}  # by Containerfile
STAND_INS = ("postgres", "orthanc")
LARGEST_SITE = 450 * 10**6  # bytes over the base
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
_BUILD = ("podman", "build", "--quiet", "--format", "docker", "--isolation", "chroot", "--network", "host")


def main() -> int:
    """Build every image; the exit code."""
    if reason := missing():
        print(f"make images: skipped: {reason}")
        return 0
    try:
        build(Steps())
    except StepFailed as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def build(steps: Steps) -> None:
    """Wheels, base, images. Raises `StepFailed`."""
    with steps.step("Wheels of everything that is installed") as notes:
        make_wheels()
        notes.append(f"{len(list(WHEELS.glob('*.whl')))} in {WHEELS.relative_to(ROOT)}")
    with steps.step("A base with Python 3.11") as notes:
        make_base()
        notes.append(f"{BASE}, {size(BASE) / 1e6:.0f} MB")
    for name, containerfile in OURS.items():
        with steps.step(f"Image {name}, without an index") as notes:
            file = ROOT / f"compose/{containerfile}.Containerfile"
            offline = ("--volume", f"{WHEELS}:/wheels:ro", "--build-arg", "PIP_NO_INDEX=1")
            _image(name, file, ROOT, *offline, "--build-arg", "PIP_FIND_LINKS=/wheels", "--target", name)
            over = size(image(name)) - size(BASE)
            notes.append(f"{over / 1e6:.0f} MB over the base")
            if name == "site" and over > LARGEST_SITE:
                raise StepFailed(f"the site's image is larger than {LARGEST_SITE / 1e6:.0f} MB over its base")
    for name in STAND_INS:
        with steps.step(f"Debian's {name}, in place of the public image"):
            _image(name, ROOT / f"compose/containers/{name}.Containerfile", ROOT / "compose/containers")


def make_wheels() -> None:
    """Ours and all that it needs, as `constraints.txt` pins it; torch first and exactly."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "-c", "constraints.txt", "-w", WHEELS)
    call(*wheel, "torch==2.13.0")
    call(*wheel, "--find-links", WHEELS, f".[{EXTRAS}]", "hatchling")  # which builds ours in an image


def make_base() -> None:
    """Debian's minimal system with Python, unless `BASE_IMAGE` names a base or it was made before."""
    try:
        call("podman", "image", "exists", BASE)
    except StepFailed:
        root = BUILD / "base"
        shutil.rmtree(root, ignore_errors=True)
        call("debootstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", "bookworm", root)
        archive = BUILD / "base.tar"
        left_out = (f"--exclude=./var/{folder}/*" for folder in ("cache/apt/archives", "lib/apt/lists"))
        call("tar", "-C", root, *left_out, "-cf", archive, ".")
        call("podman", "import", archive, BASE)
        shutil.rmtree(root)
        archive.unlink()


def size(name: str) -> int:
    """Bytes of an image with all that it stands on."""
    return int(call("podman", "image", "inspect", "--format", "{{.Size}}", name))


def _image(name: str, containerfile: Path, context: Path, *options: str) -> None:
    call(*_BUILD, "--build-arg", f"BASE={BASE}", *options, "--tag", image(name), "--file", containerfile, context)


if __name__ == "__main__":
    sys.exit(main())
