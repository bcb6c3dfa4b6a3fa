-- Read a gate, or replace it if it has not changed since it was read. ARGV[2]: service, [3]: the version that was read, or
-- empty to read, [4]: a tally to increment, or empty, [5]: the rows of the store's outbox, in MessagePack, or empty, [6]...:
-- its fields. Returns {instant, version, fields ...}; the version is empty if the gate was replaced, and the read one if the
-- rows were made for other endpoints.
local key = P .. 'gate:' .. ARGV[2]
local version = redis.call('HGET', key, 'version') or '0'
if ARGV[3] ~= version then
  return {text(now()), version, redis.call('HGETALL', key)}
end
if ARGV[5] ~= '' then
  local rows = cmsgpack.unpack(ARGV[5])
  if not endpoints_known(rows) then
    return {text(now()), version, redis.call('HGETALL', key)}
  end
  write_rows(rows)
end
redis.call('HSET', key, unpack(ARGV, 6))
redis.call('HINCRBY', key, 'version', 1)
if ARGV[4] ~= '' then
  redis.call('HINCRBY', P .. 'tally:' .. ARGV[2], ARGV[4], 1)
end
return {text(now()), '', {}}
