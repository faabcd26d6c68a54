"""What exercise set 06 asks, how answers are judged, and the slips that are known."""
