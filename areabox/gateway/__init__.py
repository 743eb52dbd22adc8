"""The only code that serves HTTP: it parses, calls the modules and renders what they answer."""
