"""Another tool over the same files: runs in `.venv-bench`, one tool a process, and prints the seconds it took.

`python peer.py TOOL SOURCE OUT`. Reading, rewriting and writing are timed; imports and set-up are not.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path


def dicognito() -> Callable[[Path, Path], None]:
    """`dicognito`: pydicom in, keyed pseudonyms, pydicom out."""
    import pydicom
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer()

    def rewrite(source: Path, target: Path) -> None:
        dataset = pydicom.dcmread(source)
        anonymizer.anonymize(dataset)
        dataset.save_as(target)

    return rewrite


def dicom_anonymizer() -> Callable[[Path, Path], None]:
    """`dicom-anonymizer`: PS3.15's basic profile over pydicom."""
    from dicomanonymizer import anonymize_dicom_file

    return lambda source, target: anonymize_dicom_file(str(source), str(target))


def deid() -> Callable[[Path, Path], None]:
    """`deid`: its default recipe over pydicom."""
    from deid.dicom import replace_identifiers

    def rewrite(source: Path, target: Path) -> None:
        replace_identifiers(
            [str(source)], save=True, output_folder=str(target.parent), overwrite=True, remove_private=True
        )

    return rewrite


TOOLS = {"dicognito": dicognito, "dicom-anonymizer": dicom_anonymizer, "deid": deid}


def main(tool: str, source: Path, out: Path) -> None:
    """Rewrite every file of `source` into `out`."""
    rewrite = TOOLS[tool]()
    files = sorted(source.iterdir())
    start = time.perf_counter()
    for file in files:
        rewrite(file, out / file.name)
    sys.stdout.write(f"{time.perf_counter() - start:.6f}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
