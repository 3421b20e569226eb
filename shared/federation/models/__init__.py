"""The networks a plan may name: `registry.build_model(name, image_size=, seed=)`; torch lives here and in `federate`."""
