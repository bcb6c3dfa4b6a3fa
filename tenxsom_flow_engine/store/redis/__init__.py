"""The job store on a Redis or Valkey server (`store.redis.store`); `probe` checks whether a server is listening."""
