"""Learn the state correspondence between two RL tasks and move an agent's knowledge across it.

The method is that of Ruman & Guy, "Learning State Correspondence of Reinforcement Learning Tasks for
Knowledge Transfer" (arXiv 2209.06604). ``docs/paper_map.md`` says which function holds which equation.
"""

__version__ = "0.1.0"
