"""The history of everything, to be read: who did what, when and from where."""
