"""The site's console: pages for people of the hospital, which call what the commands call."""
