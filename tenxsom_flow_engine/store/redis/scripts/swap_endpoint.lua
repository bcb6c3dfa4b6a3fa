-- Replace the endpoint ARGV[2] if its value is ARGV[3] (empty: there is none) by ARGV[4] (empty: remove it and its rows).
-- ARGV[5]: the version of the endpoints after that. Returns 1 if it was replaced, else 0.
local id = ARGV[2]
if (redis.call('HGET', P .. 'endpoints', id) or '') ~= ARGV[3] then
  return 0
end
if ARGV[4] == '' then
  redis.call('HDEL', P .. 'endpoints', id)
  redis.call('HDEL', P .. 'endpoint_health', id)
  for _, name in ipairs({'outbox:', 'outbox_at:', 'outbox_due:', 'outbox_state:'}) do
    redis.call('UNLINK', P .. name .. id)
  end
else
  redis.call('HSET', P .. 'endpoints', id, ARGV[4])
end
if redis.call('EXISTS', P .. 'endpoints') == 1 then
  redis.call('SET', P .. 'endpoints_version', ARGV[5])
else
  redis.call('DEL', P .. 'endpoints_version')
end
changed()
return 1
