"""Exact sums of integer vectors modulo 2^64 that show nobody a single site's vector.

After Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS 2017), figure 4,
against a server that may lie. Five stages, each one exchange: advertise, share, mask, consistency, unmask.
`server.secure_sum` runs the centre's side over an `Exchange`; `client.SumClient.answer` is a site's side;
`policy.SumPolicy` is what a site requires; `memory.FileMemory` is what it must not forget.
"""
