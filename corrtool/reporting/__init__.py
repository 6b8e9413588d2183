"""What people see and read: progress, metrics, pictures."""
