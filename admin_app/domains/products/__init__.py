"""Products: what is sold, and who owns it."""
