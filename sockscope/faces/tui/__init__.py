"""The Textual dashboard; the only package that imports textual."""

import os

# Textual paints on a timer, and what a key has changed waits for it for up to two periods. It reads this when
# it is imported.
os.environ.setdefault("TEXTUAL_FPS", "240")
