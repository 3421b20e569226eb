"""Validate: a second pair of eyes on every de-identified study, with its own reader and its own logic.

`validation.validate` takes a study to `Validated` or `Refused` and writes its report; `conformance.check_output` judges
a file by itself, without source and secret. Nothing here imports `deidentify`.
"""
