"""The relay: what stands between clients and server and passes on what each of them sends."""
