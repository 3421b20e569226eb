"""Submitting sealed studies: `client` uploads them, `receipts` checks and keeps what the coordinator signed."""
