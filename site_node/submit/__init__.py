"""Submitting sealed studies: `client` uploads them, `outbox` checks and keeps their receipts."""
