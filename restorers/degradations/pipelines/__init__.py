"""The papers' and peers' degradation pipelines, each a function from dice to explicit steps."""
