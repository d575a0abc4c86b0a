"""The configuration: its classes describe every setting, and file, documentation and checks follow from them."""
