"""The register of a curator: each study that was opened, its state, whose acts led there, and the log of them all."""
