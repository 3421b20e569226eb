"""Who calls and what they may do: the role table checked before every RPC, certificates, tokens."""
