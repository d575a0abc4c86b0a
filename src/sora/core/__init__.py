"""The vocabulary every other folder speaks: errors, limits, ids, flags, addresses, units."""
