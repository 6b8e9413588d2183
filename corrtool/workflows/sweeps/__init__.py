"""Many runs that differ in some settings and in their seeds: planned, run side by side, told."""
