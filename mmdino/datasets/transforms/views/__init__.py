"""Views of an image: options, random draws and image operations."""
