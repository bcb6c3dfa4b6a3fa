-- Take an admission out of the logs. ARGV[2]: service, [3]: its instant.
for _, name in ipairs({ARGV[2], 'global'}) do
  redis.call('LREM', P .. 'log:' .. name, 1, ARGV[3])
end
redis.call('HINCRBY', P .. 'tally:' .. ARGV[2], 'given_back', 1)
