"""The hospital's clinical sheet: read, typed, joined to studies by MRN, accession or study UID, and de-identified.

`table` reads a file, `headings` or a reviewed `mapping` says what its columns are, `sheet` types its rows and lists
problems, `marked` gives it back with bad cells coloured, `kept` is the home's folder of sheets and mappings,
`partners` lists who lacks a partner, `template` writes our own sheet, `leaving` makes of a row what may leave.
Problems name row and column and never quote a cell.
"""
