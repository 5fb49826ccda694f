"""Rules that refuse what would break production: ``wtmo check``."""
