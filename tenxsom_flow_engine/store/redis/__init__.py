"""The job store on a Redis or Valkey server: `store.RedisStore`, and `probe` to see whether one is there."""
