"""Generate sample events like those of a mid-size sender."""
