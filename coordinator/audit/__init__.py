"""The audit log as it is read: pages of events, and the chain recomputed."""
