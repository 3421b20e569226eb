"""Which patient has which pseudonym: the table as a sealed file, and an earlier program's index. PHI."""
