"""The web pages: rendered here, read without JavaScript, with nothing from another host."""
