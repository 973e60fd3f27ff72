"""What the scripts of lessons run, and servers of their own; each file is shown beside its lesson."""
