"""What exercise set 05 asks, how answers are judged, and the slips that are known."""
