"""The networks a plan may name; only here and in `federate` and `federation` is torch imported.

`registry.build_model(task)` gives the network of a task, `get_state` and `set_state` its state as one array.
"""
