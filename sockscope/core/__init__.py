"""Plain data and arithmetic: no sockets, no clock, no screen."""
