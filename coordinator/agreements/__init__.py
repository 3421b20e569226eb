"""Agreements: drafted, signed by the site, countersigned here, suspended and ended; `lifecycle` says in which order."""
