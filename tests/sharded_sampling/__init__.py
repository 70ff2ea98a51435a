"""`ddpm sample` into a folder of parts."""
