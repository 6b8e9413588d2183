"""Settings: how they are declared, one class per stage, and where values come from."""
