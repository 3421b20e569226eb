"""Who calls and what they may do: the role table in front of every RPC, certificates, tokens."""
