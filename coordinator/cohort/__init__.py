"""Pooled cohort summaries: added up by secure sum, suppressed after pooling, stored and shown as released tables.

`service` starts a cohort and `pooling` computes it; `suppression.suppress` decides what may be shown, `relations` says
how the cells of a definition depend on each other, `rendering` makes the rows that a person reads.
"""
