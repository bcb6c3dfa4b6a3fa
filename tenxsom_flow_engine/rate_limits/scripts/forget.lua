-- Remove a waiter, and let the last waiter take its place if that is earlier. ARGV[2]: service, [3]: waiter. Returns the moved
-- waiter and its new hint, or nothing.
local instant = now()
local hints = P .. 'told:' .. ARGV[2]
local freed = redis.call('ZSCORE', hints, ARGV[3])
remove_waiter(ARGV[2], ARGV[3])
local last = redis.call('ZREVRANGE', hints, 0, 0, 'WITHSCORES')
if freed and last[1] and tonumber(freed) > instant and tonumber(freed) < tonumber(last[2]) then
  redis.call('ZADD', hints, freed, last[1])
  local channel = redis.call('HGET', P .. 'waiter_channels:' .. ARGV[2], last[1])
  if channel then
    redis.call('ZADD', hints_of(ARGV[2], channel), freed, last[1])
  end
  return {last[1], freed}
end
return {}
