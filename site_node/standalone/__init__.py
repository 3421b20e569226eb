"""`screen` and `deidentify` on a folder without a home: for looking, and for sites that share by another way.

`screening` looks. `archive` de-identifies: it lists the source (`sources`), has every file looked at and every study
worked on (`study`) by an engine (`engine`, `engine_processes`, `engine_ray`), keeps what is done (`resume`) and tells
what became of each file (`report`). What an engine is given and gives back stands in `tasks`.
"""
