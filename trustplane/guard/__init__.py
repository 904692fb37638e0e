"""Is this input, this output, this model safe?"""
