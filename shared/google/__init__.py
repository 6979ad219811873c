"""Google Cloud: Pub/Sub carries, Firestore remembers, Cloud Storage keeps; the local profile imports none of it."""
