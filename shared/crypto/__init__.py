"""The crypto formats both sides must agree on; everything rests on the `cryptography` package.

- `signing`: Ed25519 keys, fingerprints, signed manifests.
- `keys`: private key files (0600, whole or absent) of every kind.
- `pki`: the federation's own certificate authority, short-lived certificates with a SPIFFE name.
- `sealing`: age v1 files (c2sp.org/age) to X25519 or hybrid `mlkem768x25519` recipients, streamed. Built of `bech32`,
  `stanzas` (the header), `recipients` (who can open) and `payload` (the chunks).
- `contents` and `archive`: what is inside a sealed study, and its strict tar and zstd framing.
"""
