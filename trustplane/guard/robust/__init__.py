"""Is a model safe under small changes of its input? Attacks, adversarial training, a purifier, honest figures."""
