"""Tables of cells as hospitals write them, in XLSX or text, below the rooms that know what the columns mean."""
