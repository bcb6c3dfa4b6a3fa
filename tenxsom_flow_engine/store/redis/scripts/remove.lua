-- Remove a finished record. ARGV[2]: id, [3]: version that was read, [4]: until when its id stays known,
-- [5]..[14]: its index entries. Returns 1 if it was removed, else 0.
now()
local id = ARGV[2]
local value = redis.call('HGET', P .. 'jobs', id)
if not value or version(value) ~= ARGV[3] then
  return 0
end
local where = {}
for i = 1, 10 do
  where[i] = ARGV[4 + i]
end
unindex(id, position(value), where)
redis.call('HDEL', P .. 'jobs', id)
redis.call('ZADD', P .. 'finished_ids', ARGV[4], id)
return 1
