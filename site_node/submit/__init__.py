"""Sealed studies on their way: `client` uploads and checks receipts, `outbox` holds what has not arrived."""
