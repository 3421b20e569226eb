"""Pooled cohort summaries: asked for by secure sum, suppressed after pooling, kept and shown as released tables.

`service.compute_cohort` is the one way in; `suppression.suppress` decides what may be shown, `relations` says what the
cells of a definition have to do with each other, `rendering` makes the rows a person reads.
"""
