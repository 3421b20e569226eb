"""The centre of federated work: Flower's SuperLink in our process, registered nodes, runs and their results.

`superlink` is the only module that touches Flower's internals; `process.serve_federation` executes the run rows of the
store.
"""
