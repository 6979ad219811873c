"""HTTP matters that belong to no single resource: who may ask, headers, errors, conditional answers."""
