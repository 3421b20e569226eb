"""The curator's program: the only place at the centre where a sealed study is opened.

`keys` makes the curator's age identity, signing key and TLS key; `opening` checks a sealed study against its signed
manifest and writes it out, all of it or nothing. It runs on its own host from its own image.
"""
