-- Let the admissions of a service that are later than an instant count as made then, and remove its waiters.
-- ARGV[2]: service, [3]: the instant.
local log, instant = P .. 'log:' .. ARGV[2], tonumber(ARGV[3])
for i, at in ipairs(redis.call('LRANGE', log, 0, -1)) do
  if tonumber(at) > instant then
    redis.call('LSET', log, i - 1, text(instant))
  end
end
for _, channel in ipairs(redis.call('HKEYS', P .. 'waiting:' .. ARGV[2])) do
  redis.call('DEL', hints_of(ARGV[2], channel), asks_of(ARGV[2], channel))
end
for _, name in ipairs({'asked:', 'told:', 'waiting:', 'waiter_channels:'}) do
  redis.call('DEL', P .. name .. ARGV[2])
end
return 1
