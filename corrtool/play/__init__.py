"""Whole games by a policy, and videos of them."""
