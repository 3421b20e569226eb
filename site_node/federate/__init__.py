"""The site's part in federated work: the policy that vets each message, what answers it, and the way to the fleet port.

`fleet` and `packing` are the only modules that touch Flower's internals; `executor.run_federate` is what the commands
call.
"""
