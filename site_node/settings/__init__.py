"""The sections of `site.toml` as frozen types: what a hospital may set, and within which bounds."""
