"""Sealed studies: received, stored and handed to their curator; the coordinator cannot open them."""
