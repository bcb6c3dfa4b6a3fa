-- Replace a record if it has not changed since it was read.
-- ARGV[2]: id, [3]: version that was read, [4]: record, [5]: lease or empty, [6]: its end or empty,
-- [7]..[13]: its old index entries, [14]..[20]: the new ones, [21], [22]: a service whose slots are limited and the limit,
-- or empty, [23], [24]: a service and its latest error, or empty, [25]...: a kind of totals, a field, and the amount to add.
-- Returns 'done', 'gone', 'changed' or 'busy'.
local instant = now()
local id = ARGV[2]
local value = redis.call('HGET', P .. 'jobs', id)
if not value then
  return 'gone'
end
if version(value) ~= ARGV[3] then
  return 'changed'
end
local service = ARGV[21]
if service ~= '' then
  local key = P .. 'slots:' .. service
  local in_flight = redis.call('ZCOUNT', key, '(' .. text(instant), '+inf')
  local own = redis.call('ZSCORE', key, id)
  if own and tonumber(own) > instant then
    in_flight = in_flight - 1
  end
  if in_flight >= tonumber(ARGV[22]) then
    return 'busy'
  end
end
local before, after = {}, {}
for i = 1, 7 do
  before[i] = ARGV[6 + i]
  after[i] = ARGV[13 + i]
end
local place = position(value)
redis.call('HSET', P .. 'jobs', id, with_next_version(value, ARGV[4]))
unindex(id, place, before)
index(id, place, after)
if after[2] ~= before[2] then
  mark_service(number(place), after[2])
end
if after[1] ~= before[1] then
  redis.call('SADD', P .. 'queues', after[1])
end
-- A leased job counts as wanting a slot until it has one or its lease ends.
local lane = redis.call('HGET', P .. 'wanting', id)
if lane and (ARGV[5] == '' or after[5] ~= '') then
  redis.call('HDEL', P .. 'wanting', id)
  add_wanting(before[1], lane, -1)
end
if ARGV[5] ~= '' then
  redis.call('HSET', P .. 'leases', id, ARGV[5])
  redis.call('ZADD', P .. 'leased:' .. after[1], ARGV[6], id)
else
  redis.call('HDEL', P .. 'leases', id)
  redis.call('ZREM', P .. 'leased:' .. before[1], id)
end
if ARGV[23] ~= '' then
  redis.call('HSET', P .. 'last_errors', ARGV[23], ARGV[24])
end
for i = 25, #ARGV, 3 do
  if type(redis.pcall('HINCRBYFLOAT', P .. 'sums:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])) == 'table' then
    redis.pcall('HSET', P .. 'sums:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])  -- a foreign value
  end
end
changed()
return 'done'
