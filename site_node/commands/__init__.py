"""The verbs of `ricord-site`, one module for each subject; `site_node.cli` puts them together."""
