-- Replace the settings of the channel ARGV[2], unless they are no longer ARGV[3] (empty: none), by ARGV[4] (empty: none).
-- [5]: its weight, [6]: '1' if it is paused. Returns 1 if they were replaced, else 0.
local instant, channel = now(), ARGV[2]
if (redis.call('HGET', P .. 'channels', channel) or '') ~= ARGV[3] then
  return 0
end
if ARGV[4] == '' then
  redis.call('HDEL', P .. 'channels', channel)
else
  redis.call('HSET', P .. 'channels', channel, ARGV[4])
end
if ARGV[5] == '1.0' then
  redis.call('HDEL', P .. 'weights', channel)
else
  redis.call('HSET', P .. 'weights', channel, ARGV[5])
end
if ARGV[6] == '1' then
  redis.call('SADD', P .. 'paused', channel)
else
  redis.call('SREM', P .. 'paused', channel)
  for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
    for _, lane in ipairs(redis.call('SMEMBERS', P .. 'lanes:' .. queue)) do
      redis.call('ZADD', P .. 'asleep:' .. queue .. ':' .. lane, 'XX', text(instant), channel)
    end
  end
end
changed()
return 1
