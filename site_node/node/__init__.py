"""The node: its stages, the pipeline that moves studies through them, intake, acquisition, and the service loop."""
