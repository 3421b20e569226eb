"""Keyed pseudonyms: patients, UIDs, date shifts, accession numbers and study keys of one site.

`site_node.pseudonyms.keyed.Pseudonyms` is the one public class; everything it says follows from the site's 32-byte
secret (and, for patient numbers, from the ledger's counter), so the same input always gives the same output.
"""
