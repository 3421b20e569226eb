"""Which sites' nodes run, and how much each has to do: their latest reports."""
