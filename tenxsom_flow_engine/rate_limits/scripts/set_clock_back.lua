-- Let the admissions of a service that are later than an instant count as made then, and remove its waiters.
-- ARGV[2]: service, [3]: the instant.
local log, instant = P .. 'log:' .. ARGV[2], tonumber(ARGV[3])
for i, at in ipairs(redis.call('LRANGE', log, 0, -1)) do
  if tonumber(at) > instant then
    redis.call('LSET', log, i - 1, text(instant))
  end
end
redis.call('DEL', P .. 'asked:' .. ARGV[2], P .. 'told:' .. ARGV[2])
return 1
