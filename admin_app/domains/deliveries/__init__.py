"""Deliveries, to be looked after: what waits, what failed, and what was given up."""
