-- Remove up to 1000 rows of each endpoint whose events happened before ARGV[2]. Returns how many.
local removed = 0
for _, id in ipairs(redis.call('HKEYS', P .. 'endpoints')) do
  local events = redis.call('ZRANGEBYSCORE', P .. 'outbox_at:' .. id, '-inf', '(' .. ARGV[2], 'LIMIT', 0, 1000)
  if #events > 0 then
    redis.call('ZREM', P .. 'outbox_at:' .. id, unpack(events))
    redis.call('ZREM', P .. 'outbox_due:' .. id, unpack(events))
    redis.call('HDEL', P .. 'outbox:' .. id, unpack(events))
    redis.call('HDEL', P .. 'outbox_state:' .. id, unpack(events))
    removed = removed + #events
  end
end
return removed
