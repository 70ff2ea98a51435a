"""What the ops share on `reference`: the noise stream as the papers write it."""
