"""Images that people send, from their bytes to sizes for a page. Knows no product."""
