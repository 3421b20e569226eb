"""The site's part in federated work: Flower's SuperNode, the policy that vets each message, and what answers it.

`supernode` is the only module that touches Flower's internals; `executor.run_federate` is what the commands call.
"""
