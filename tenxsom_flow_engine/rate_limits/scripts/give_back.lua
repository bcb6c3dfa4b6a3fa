-- Take an admission out of the logs. ARGV[2]: service, [3]: its instant.
-- What the service's own log does not hold was never counted in the other either.
if redis.call('LREM', P .. 'log:' .. ARGV[2], 1, ARGV[3]) > 0 then
  redis.call('LREM', P .. 'log:global', 1, ARGV[3])
  redis.call('HINCRBY', P .. 'tally:' .. ARGV[2], 'given_back', 1)
end
