"""Presets as TOML, one table per stage.

A sub-table ``vector`` or ``image`` applies to that state kind only.
"""
