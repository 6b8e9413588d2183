"""The correspondence function, eq. (7)–(13): networks, losses, learning, and play through it."""
