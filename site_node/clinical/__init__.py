"""The hospital's clinical sheet: read, typed, joined to studies by MRN, accession or study UID, and de-identified.

`sheet.read_sheet` reads XLSX or CSV into rows and a list of problems, `template.write_template` writes our own sheet,
`leaving.deidentify_row` makes of a row what may leave. Problems name row and column and never quote a cell.
"""
