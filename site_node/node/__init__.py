"""The node: its stages put together, the way of each study through them, intake, acquisition, and the service loop."""
