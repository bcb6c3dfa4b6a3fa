-- Remove an admission from the logs. ARGV[2]: service, [3]: its instant.
-- An admission that is not in the service's log was never counted in the global log either.
if redis.call('LREM', P .. 'log:' .. ARGV[2], 1, ARGV[3]) > 0 then
  redis.call('LREM', P .. 'log:global', 1, ARGV[3])
  redis.call('HINCRBY', P .. 'tally:' .. ARGV[2], 'given_back', 1)
end
