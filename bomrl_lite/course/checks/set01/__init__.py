"""What exercise set 01 asks, how answers are judged, and the slips that are known."""
