"""The swarm: keeps N clients alive; each is a link and a pacer."""
