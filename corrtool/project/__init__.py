"""The project directory: names, manifests, lineage, locks, atomic writes, checkpoints and runs."""
