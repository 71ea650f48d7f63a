"""The ways out: each backend speaks one wire."""
