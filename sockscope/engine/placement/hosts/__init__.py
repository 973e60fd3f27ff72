"""What roles can run in: this loop, a child process."""
