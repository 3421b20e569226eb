"""The site's home: one folder with settings, keys, ledger, records and studies, and what each of them holds."""
