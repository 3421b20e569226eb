"""Speed, as ratios within a run: each row is compared with a peer or a physical floor. Never a timed test.

`make bench` runs every module here that has a `rows()`; peers run in their own environment, `.venv-bench`.
"""
