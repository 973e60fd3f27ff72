"""Roles on the workers of a dask.distributed cluster, each in a child process of its worker."""
