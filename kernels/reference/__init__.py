"""Shared by the ops on `reference`: the noise stream as the papers write it."""
