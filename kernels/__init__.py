"""How DDPM's loops are computed fast: one folder per op, one file per backend. Never imports `ddpm`."""

# `import ddpm` reads this to make sure that it found these kernels and not another distribution's.
DISTRIBUTION = "fused-ddpm"
