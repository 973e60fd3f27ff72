"""The clients, one file per transport, and the swarm that keeps N of them alive."""
