"""The site's home: one folder with settings, keys, ledger, records and studies, and its readers and writers."""
