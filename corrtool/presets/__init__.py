"""Presets as TOML, one table per stage; a sub-table ``vector`` or ``image`` applies to that state kind only."""
