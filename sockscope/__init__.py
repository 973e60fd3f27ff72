"""SockScope: real servers, real clients, and every knob turns while they run."""

__version__ = "0.1.0"
