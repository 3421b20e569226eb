"""`screen` and `deidentify` on a folder without a home: to look at it, and for sites that share by another way.

`screening` screens. `archive` de-identifies: it lists the source (`sources`), has an engine (`engine`,
`engine_processes`, `engine_ray`) scan every file and process every study (`study`), keeps completed results (`resume`)
and reports the outcome of each file (`report`). `tasks` defines what an engine receives and returns.
"""
