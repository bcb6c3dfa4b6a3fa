-- Make the rows of the endpoint ARGV[2] due now whose events happened since ARGV[3]. Returns how many.
local instant, id = now(), ARGV[2]
local events = redis.call('ZRANGEBYSCORE', P .. 'outbox_at:' .. id, ARGV[3], text(instant))
for _, event in ipairs(events) do
  redis.call('HDEL', P .. 'outbox_state:' .. id, event)
  redis.call('ZADD', P .. 'outbox_due:' .. id, text(instant), event)
end
changed()
return #events
