"""What LLM APIs look like on the wire: endpoints, events, errors, and the formats that carry them; no I/O."""
