"""The sections of `site.toml` as frozen types: the settings of a hospital, and their bounds."""
