"""The hospital's clinical sheet: read, typed, joined to studies by MRN, accession or study UID, and de-identified.

`table` reads a file, `headings` or a reviewed `mapping` says what its columns are, `sheet` types its rows and lists
problems, `annotated_copy` gives it back with bad cells coloured, `sheet_store` is the home's folder of sheets and
mappings, `matching` lists unmatched rows and studies, `template` writes our own sheet, `release` de-identifies a row.
Problems name row and column and never quote a cell.
"""
