"""Server models that block threads."""
