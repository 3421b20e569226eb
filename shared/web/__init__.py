"""The frame of every console: people, sessions, the guard before each page, templates and assets.

An optional part (`ricord-federation[console]`): nothing else of `shared` imports it. `console.py` says how one is made.
"""
