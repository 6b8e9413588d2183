"""Reports: results, figures, tables and one page."""
