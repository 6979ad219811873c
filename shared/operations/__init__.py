"""What operators do with log and records, over ports only: trace, replay, dead letters, transfer, compaction."""
