"""What the coordinator stores.

`interface.Store` is the interface, `sql` implements it on SQLite and PostgreSQL, `blobs` holds ciphertext.
"""
