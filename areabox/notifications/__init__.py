"""What areabox tells its own user: notices, and where they go."""
