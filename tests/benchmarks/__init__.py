"""Speed, as ratios in one run: each row beside a peer or a physical floor. Never a timed test.

`make bench` runs every module here that has a `rows()`; peers run in an environment of their own, `.venv-bench`.
"""
