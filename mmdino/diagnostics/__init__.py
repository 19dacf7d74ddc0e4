"""What shows how networks differ: their attention, their features and their loss surfaces."""
