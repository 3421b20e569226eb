"""Who stands behind a pseudonym: the table as a sealed file, and the index of an earlier program. PHI."""
