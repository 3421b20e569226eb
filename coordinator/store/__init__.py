"""What the coordinator keeps.

`interface.Store` says what can be asked, `sql` answers on SQLite or PostgreSQL, `blobs` holds ciphertext.
"""
