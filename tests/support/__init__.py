"""What tests share: commands, tasks and lanes, states for networks, settings."""
