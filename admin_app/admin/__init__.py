"""The website for people: sqladmin's frame, our pages, and nothing that writes but through a service."""
