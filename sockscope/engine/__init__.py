"""Sockets and asyncio: servers, swarms, and the engine that runs them. Knows nothing of screens."""
