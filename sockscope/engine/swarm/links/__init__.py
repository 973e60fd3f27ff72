"""How a client is connected: one file per client model."""
