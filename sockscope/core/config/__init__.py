"""What can be asked for: fields, the experiment, and what applies to what."""
