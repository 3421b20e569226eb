"""Seal: a validated study becomes one encrypted file for the curator, and a manifest that the site signs.

`package.seal` accepts a `Validated` and nothing else. No plaintext is written: instances stream through tar, zstd and
age into the outbox. `package.load_sealed` finds a study that was sealed before.
"""
