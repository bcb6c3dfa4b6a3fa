-- Write the results of attempts of the endpoint ARGV[2], and its health ARGV[3] if that is not empty. ARGV[4]...: for each
-- its event, the number of the attempt, the attempts that count and the state, and the time of the next attempt, or empty.
-- Returns how many results counted.
local id, counted = ARGV[2], 0
for i = 4, #ARGV, 4 do
  local event = ARGV[i]
  if redis.call('HGET', P .. 'outbox_state:' .. id, event) == ARGV[i + 1] .. ' pending' then
    counted = counted + 1
    redis.call('HSET', P .. 'outbox_state:' .. id, event, ARGV[i + 2])
    if ARGV[i + 3] == '' then
      redis.call('ZREM', P .. 'outbox_due:' .. id, event)
    else
      redis.call('ZADD', P .. 'outbox_due:' .. id, ARGV[i + 3], event)
    end
  end
end
if ARGV[3] ~= '' and redis.call('HEXISTS', P .. 'endpoints', id) == 1 then
  redis.call('HSET', P .. 'endpoint_health', id, ARGV[3])
end
return counted
