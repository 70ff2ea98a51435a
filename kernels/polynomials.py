"""Coefficients of the minimax polynomials that several backends evaluate, each in its own language."""

# sin x = x + x^3 (...) and cos x = 1 - x^2 / 2 + x^4 (...) on [-pi/4, pi/4], both in powers of x^2
SIN = (-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4)
COS = (4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5)

# log(1 + x) = x + x^2 (c0 + c1 x + ...) on [0, 1]: a fit made for this file, wrong by at most
# a tenth of a unit in the last place
LOG1P_UNIT = (
    *(-0.499999328, 0.333305113, -0.249585875, 0.196954007, -0.153553968),
    *(0.106805562, -0.0576644511, 0.0202045886, -0.00331847334),
)

SQRT_HALF_BITS = 0x3F3504F3  # sqrt(1/2) as a float32: where the fraction of a logarithm begins
