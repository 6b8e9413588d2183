"""The Q-function and how it is learnt by playing (Algorithms 1 and 2)."""
