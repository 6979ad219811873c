"""The training pod: fetches the folder at its commit, trains, uploads, and says how it went."""
