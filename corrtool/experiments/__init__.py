"""The paper's experiments as data: which tasks, which correspondences, what is finetuned. Read by ``stages/reproduce.py``."""
