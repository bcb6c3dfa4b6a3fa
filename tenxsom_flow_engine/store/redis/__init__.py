"""The job store on a Redis or Valkey server (`store.RedisStore`); `probe` checks whether a server is listening."""
