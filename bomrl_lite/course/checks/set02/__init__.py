"""What exercise set 02 asks, how answers are judged, and the slips that are known."""
