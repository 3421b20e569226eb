"""The verbs of `ricord-coordinator`, one module per noun; `coordinator.cli` joins them."""
