"""Keyed pseudonyms: patients, UIDs, date shifts, accession numbers and study keys of one site.

`site_node.pseudonyms.keyed.Pseudonyms` derives them all from the site's 32-byte secret (and patient numbers from the
ledger's counter), so the same input always gives the same output.
"""
