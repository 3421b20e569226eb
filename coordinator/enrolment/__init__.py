"""How hospitals and people become members: invited, agreement read and signed, enrolled, certificates renewed."""
