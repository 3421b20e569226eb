"""Version 1 of the wire; everything but the `.proto` files is generated."""
