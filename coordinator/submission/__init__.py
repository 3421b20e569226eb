"""Sealed studies as the coordinator takes them in, keeps them and hands them to their curator; it can open none."""
