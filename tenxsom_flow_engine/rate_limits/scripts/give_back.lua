-- Remove an admission from the logs. ARGV[2]: service, [3]: its instant, [4]: its channel, [5]: the channel's weight.
-- An admission that is not in the service's log was never counted in the global log either.
if redis.call('LREM', P .. 'log:' .. ARGV[2], 1, ARGV[3]) > 0 then
  redis.call('LREM', P .. 'log:global', 1, ARGV[3])
  redis.call('HINCRBY', P .. 'tally:' .. ARGV[2], 'given_back', 1)
end
redis.call('LREM', P .. 'log:channel:' .. ARGV[4], 1, ARGV[3])
local counted = redis.call('ZSCORE', P .. 'admitted:' .. ARGV[2], ARGV[4])
if counted then
  redis.call('ZADD', P .. 'admitted:' .. ARGV[2], text(tonumber(counted) - 1 / tonumber(ARGV[5])), ARGV[4])
end
