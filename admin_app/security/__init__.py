"""Who is at the door, and what the browser may do on our pages."""
