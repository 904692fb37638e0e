"""The faces of the proxy: drivers that do the input and output of an exchange."""
