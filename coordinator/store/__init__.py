"""What the coordinator stores.

`interface.Store` is the interface, `sql` and `work` implement it on SQLite and PostgreSQL; `folder` and `bucket` (S3)
implement `ciphertext.CiphertextStore`; `locks` is what several processes share besides.
"""
