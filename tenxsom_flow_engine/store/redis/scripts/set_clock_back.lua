-- Set the store's time to the earlier instant ARGV[1]. No other process uses the store. A queue's lock is that of its sweep.
local instant = text(tonumber(ARGV[1]))
redis.call('SET', P .. 'clock', instant)
redis.call('DEL', P .. 'behind', P .. 'workers', P .. 'hold:slots', P .. 'hold:schedules')
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  redis.call('HSET', P .. 'queue:' .. queue, 'tokens', '0', 'refilled_at', instant)
  redis.call('DEL', P .. 'hold:sweep:' .. queue)
end
for _, id in ipairs(redis.call('HKEYS', P .. 'endpoints')) do
  for _, event in ipairs(redis.call('ZRANGEBYSCORE', P .. 'outbox_due:' .. id, '(' .. instant, '+inf')) do
    redis.call('ZADD', P .. 'outbox_due:' .. id, instant, event)
  end
end
return 1
