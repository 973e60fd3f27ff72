"""The server models, one file each, and the role that runs them."""
