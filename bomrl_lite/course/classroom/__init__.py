"""Judging what students send, outside their process, and what comes of it for a class."""
