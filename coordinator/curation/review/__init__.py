"""The review of what was opened: checks that see what a site may have missed, and a person who looks at every image."""
