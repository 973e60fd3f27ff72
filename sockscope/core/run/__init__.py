"""What a run tells: snapshots, windows, figures, findings, its past."""
