"""``make bench``: ``main.measure_all`` is the entry.

Times are CPU seconds of one thread where that is the bar, and ratios are taken within one run:
machines are shared and noisy, and only these two survive that.
"""
