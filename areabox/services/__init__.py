"""The third parties: which there are, whose accounts there are, and how they are called."""
