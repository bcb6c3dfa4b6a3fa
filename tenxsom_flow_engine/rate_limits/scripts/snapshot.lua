-- Return the state of a service. ARGV[2]: service. Returns {instant, gate, admissions, number of waiters, tally}.
local instant = now()
local service = ARGV[2]
return {
  text(instant),
  redis.call('HGETALL', P .. 'gate:' .. service),
  redis.call('LRANGE', P .. 'log:' .. service, 0, -1),
  redis.call('ZCOUNT', P .. 'told:' .. service, '(' .. text(instant - FORGET_WAITERS), '+inf'),
  redis.call('HGETALL', P .. 'tally:' .. service),
}
