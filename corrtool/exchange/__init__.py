"""Formats of other programs: what comes from them, and what is written for them; a file each."""
