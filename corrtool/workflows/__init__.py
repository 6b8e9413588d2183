"""Several stages in a row, and what looks at all of them."""
