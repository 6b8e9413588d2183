"""The correspondence function, eq. (7)–(13): networks, losses, and how it is learnt and played by."""
