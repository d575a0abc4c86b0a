"""The interfaces to what is kept, the row types, and an in-memory implementation for tests."""
