"""Code that the ops of `native` share: C++ headers in one strict arithmetic, their build, and calls from Python."""
