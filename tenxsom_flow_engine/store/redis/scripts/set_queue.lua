-- Replace the settings of the queue ARGV[2], unless they have changed. [3], [4], [5]: whether it is paused ('1'), its rate
-- and its concurrent dispatches as they were read, empty if they are not set; [6], [7], [8]: the new ones; [9]: the rows of
-- the outbox (see outbox.lua), in MessagePack, or empty. Returns 1 if they were replaced, 0 if they or the endpoints have changed.
local key, rows = P .. 'queue:' .. ARGV[2], ARGV[9] ~= '' and cmsgpack.unpack(ARGV[9])
local fields = {'paused', 'rate', 'concurrent'}
if rows and not endpoints_known(rows) then
  return 0
end
for i, field in ipairs(fields) do
  if (redis.call('HGET', key, field) or '') ~= ARGV[i + 2] then
    return 0
  end
end
for i, field in ipairs(fields) do
  if ARGV[i + 5] == '' then
    redis.call('HDEL', key, field)
  else
    redis.call('HSET', key, field, ARGV[i + 5])
  end
end
if rows then
  write_rows(rows)
end
changed()
return 1
