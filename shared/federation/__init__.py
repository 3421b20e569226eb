"""What coordinator and sites must agree on to compute together without sharing an image.

`plan` (what a run may do, signed by the coordinator), `records` (a model's state as one array), `bundle` (Flower's
FAB without code), `models` (the networks by name), `secure_sum` and `exchange` (sums that no party sees parts of).
"""
