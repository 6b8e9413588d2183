"""Files: atomic writes, sealed files, pictures."""
