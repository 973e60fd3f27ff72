"""Server models on a readiness loop of their own."""
