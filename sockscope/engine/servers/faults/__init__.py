"""Faults of a server that are made on purpose, live: what carries out
:class:`sockscope.core.impairment.server.ServerFaults`.

:class:`~sockscope.engine.servers.faults.faults.Faults` is the only one that a server knows of. While none is
on, nothing of this is on the way of a request.
"""
