"""Server models that run on the event loop."""
