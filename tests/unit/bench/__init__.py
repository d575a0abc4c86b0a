"""Tests of the benchmark's own arithmetic; nothing here measures anything."""
