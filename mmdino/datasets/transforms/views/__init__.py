"""How a view is made: its options, its draws, its pixels."""
