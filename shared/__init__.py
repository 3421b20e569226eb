"""What the site node, the coordinator and the curator must agree on, and nothing else.

The protocol as data, the wire, the formats of sealed studies, identifiers, errors. It imports neither program.
"""
