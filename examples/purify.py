"""Put a purifier in front of an untouched classifier and measure it against an attacker who knows."""

from trustplane.cli import demo_robust

steps = []
print(demo_robust.run(steps.append, print))
