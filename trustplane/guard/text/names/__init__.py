"""Names of people, places and organisations: by cue, by list, by tagger, by model."""
