"""What happens, told to people: loops that report, events, logs, metrics and traces."""
