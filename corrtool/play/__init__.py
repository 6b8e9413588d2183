"""Full games by a policy, and videos of them."""
