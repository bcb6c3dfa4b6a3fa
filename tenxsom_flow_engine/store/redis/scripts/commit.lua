-- Replace records that have not changed since they were read. ARGV[2]...: for each a change in MessagePack, because the
-- client encodes that faster than many arguments; its fields are those of `rows.Commit`. Returns for each 'done', 'gone',
-- 'changed', 'endpoints', 'busy', 'channel busy', an answer of make_charges or an error.
local instant = now()

local function in_flight_of_others(instant, key, id)
  local in_flight = redis.call('ZCOUNT', key, '(' .. text(instant), '+inf')
  local own = tonumber(redis.call('ZSCORE', key, id) or '0')
  return own > instant and in_flight - 1 or in_flight
end

-- The changes of one call are added up, because many of them change the same amounts.
local function adder(write)
  local found = {}
  local function add(amount, ...)
    local name = table.concat({...}, '\n')
    found[name] = found[name] or {amount = 0, ...}
    found[name].amount = found[name].amount + amount
  end
  local function write_all()
    for _, one in pairs(found) do
      pcall(write, one.amount, unpack(one))  -- a foreign value; the changes themselves are made
    end
  end
  return add, write_all
end
local uncount, write_uncounted = adder(function(count, queue, lane, channel)
  uncount_turns(queue, lane, channel, count)
end)
local no_longer_wants, write_wanting = adder(function(count, queue, lane)
  add_wanting(queue, lane, -count)
end)
local function write_sum(amount, kind, field)
  local key = P .. 'sums:' .. kind
  if type(redis.pcall('HINCRBYFLOAT', key, field, amount)) == 'table' then
    redis.pcall('HSET', key, field, amount)  -- a foreign value
  end
end
local count_up, write_counts = adder(write_sum)

local function commit(change)
  local id, before, after, lease = change.id, change.before, change.after, change.lease
  local value = redis.call('HGET', P .. 'jobs', id)
  if not value then
    return 'gone'
  end
  if version(value) ~= change.version then
    return 'changed'
  end
  if change.rows and not endpoints_known(change.rows) then
    return 'endpoints'
  end
  if change.slots then
    if in_flight_of_others(instant, P .. 'slots:' .. change.slots[1], id) >= change.slots[2] then
      return 'busy'
    end
    local of_channel = tonumber(change.slots[3])
    if of_channel and in_flight_of_others(instant, P .. 'channel_slots:' .. after[9], id) >= of_channel then
      return 'channel busy'
    end
  end
  local refused = change.charges and make_charges(instant, change.charges)
  if refused then
    return refused
  end
  local place = position(value)
  redis.call('HSET', P .. 'jobs', id, with_next_version(value, change.record))
  unindex(id, place, before)
  index(id, place, after)
  if change.uncounted then
    uncount(1, before[1], before[2], before[9])
  end
  if after[2] ~= before[2] then
    mark_service(number(place), after[2])
  end
  if after[1] ~= before[1] then
    redis.call('SADD', P .. 'queues', after[1])
  end
  -- A leased job counts as wanting a slot until it has one or its lease ends.
  local lane = redis.call('HGET', P .. 'wanting', id)
  if lane and (not lease or after[5] ~= '') then
    redis.call('HDEL', P .. 'wanting', id)
    no_longer_wants(1, before[1], lane)
  end
  if lease then
    redis.call('HSET', P .. 'leases', id, lease[1])
    redis.call('ZADD', P .. 'leased:' .. after[1], lease[2], id)
  else
    redis.call('HDEL', P .. 'leases', id)
    redis.call('ZREM', P .. 'leased:' .. before[1], id)
  end
  if change.rows then
    write_rows(change.rows)
  end
  if change.error then
    redis.call('HSET', P .. 'last_errors', change.error[1], change.error[2])
  end
  for _, sum in ipairs(change.sums) do
    local amount = tonumber(sum[3])
    if amount % 1 == 0 then
      count_up(amount, sum[1], sum[2])
    else  -- the server adds fractions more precisely
      write_sum(sum[3], sum[1], sum[2])
    end
  end
  return 'done'
end

local answers = {}
for i = 2, #ARGV do
  -- An error of one, such as a foreign value in its key, must not keep the others from being committed.
  local ok, answer = pcall(commit, cmsgpack.unpack(ARGV[i]))
  if not ok and type(answer) == 'string' then  -- Redis 6.2
    answer = {err = 'ERR ' .. answer}
  end
  answers[i - 1] = answer
end
write_wanting()
write_counts()
write_uncounted()
changed()
return answers
