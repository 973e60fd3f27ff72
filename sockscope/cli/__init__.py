"""The command line: arguments, TOML and environment become an experiment, and a face runs it."""
