"""An admin dashboard where every change goes through one service."""
