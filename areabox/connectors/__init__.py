"""One file is one service; they are discovered, never imported."""
