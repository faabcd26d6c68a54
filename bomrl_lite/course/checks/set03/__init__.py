"""What exercise set 03 asks, how answers are judged, and the slips that are known."""
