"""A few attributes of a file as text, for callers that must go on with a broken file too."""

import warnings
from pathlib import Path
from typing import IO


def read_attributes(source: Path | IO[bytes], *keywords: str) -> dict[str, str]:
    """The named attributes of a data set by keyword, as text without padding. PHI.

    What is absent, empty or cannot be read is left out; nothing is raised. A stream is read from where it stands.
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            dataset = pydicom.dcmread(source, force=True, stop_before_pixels=True, specific_tags=list(keywords))
            texts = {keyword: str(dataset.get(keyword) or "").strip(" \0") for keyword in keywords}
    except Exception:  # noqa: BLE001 -- pydicom raises nearly anything on a broken file; the texts may quote values
        return {}
    return {keyword: text for keyword, text in texts.items() if text}
