"""Shared by the ops on `native`: C++ headers in one strict arithmetic, how they are built, and how they are called."""
