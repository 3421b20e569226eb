"""What the coordinator stores.

`interface.Store` is the interface, `sql` and `work` implement it on SQLite and PostgreSQL, `blobs` holds ciphertext.
"""
