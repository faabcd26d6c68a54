"""What exercise set 04 asks, how answers are judged, and the slips that are known."""
