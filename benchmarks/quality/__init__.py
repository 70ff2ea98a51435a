"""How good are the models, beside which rivals, and after how long? Densities that are known, and small real tables."""
