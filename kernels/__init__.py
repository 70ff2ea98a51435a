"""Fast kernels for the loops of DDPM: one folder for each op, one file for each backend. Never imports `ddpm`."""

# `import ddpm` reads this to make sure that it found these kernels and not those of another distribution.
DISTRIBUTION = "fused-ddpm"
