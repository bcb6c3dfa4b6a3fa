-- Shared by all scripts, and loaded before each. KEYS[1] is the prefix of all keys: a hash tag, so that all keys are in one
-- slot of a cluster. ARGV[1] is an instant, or empty for the server's time.
local P = KEYS[1] .. ':'

-- An instant as text, without loss of precision.
local function text(instant)
  return string.format('%.17g', instant)
end

-- The store's time, which never goes back. While the server's clock is behind the latest instant, it continues at half speed
-- from there, so that leases still end and the lead shrinks. `behind` has the server's clock at that latest instant. A full
-- server refuses these writes, but reads still work.
local function now()
  local given = tonumber(ARGV[1])
  local instant = given
  if not given then
    local time = redis.call('TIME')
    instant = tonumber(time[1]) + tonumber(time[2]) / 1000000
  end
  local last = tonumber(redis.call('GET', P .. 'clock') or '0') or 0
  if not (last >= 0 and last <= 253336204799) then  -- clock.LATEST_NOW; a foreign value
    last = 0
  end
  if instant > last then
    redis.pcall('SET', P .. 'clock', text(instant))
    return instant
  end
  if given then  -- by a clock that follows the same rule
    return last
  end
  local seen, of = string.match(redis.call('GET', P .. 'behind') or '', '^(.*)|(.*)$')
  if tonumber(of) == last and tonumber(seen) and instant > tonumber(seen) then
    last = last + (instant - tonumber(seen)) / 2
    redis.pcall('SET', P .. 'clock', text(last))
  end
  redis.pcall('SET', P .. 'behind', text(instant) .. '|' .. text(last))
  return last
end

local function first(key)
  local pair = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return pair[1], tonumber(pair[2])
end

-- Wake the processes that wait for a job to claim or for a change.
local function changed()
  redis.call('XADD', P .. 'changes', 'MAXLEN', '~', '16', '*', 'c', '')
end

-- A number as text that sorts like the number: a letter for the number of hexadecimal digits, then the digits.
local function packed(number)
  local digits = string.format('%x', number)
  return string.char(96 + #digits) .. digits
end

-- The index after the packed number that begins at an index of a text.
local function end_of_packed(value, at)
  return at + string.byte(value, at) - 95
end

-- Whether a text begins with so many packed numbers, and has more after them: a member of an index begins with one, a
-- stored job with two. Other programs can write to our keys.
local function is_ours(value, numbers)
  local at = 1
  for _ = 1, numbers do
    local size = (string.byte(value or '', at) or 0) - 96
    if size < 1 or size > 14 or not string.match(string.sub(value, at + 1, at + size), '^%x+$')
      or #value < at + size then
      return false
    end
    at = at + size + 1
  end
  return at <= #value
end

-- Change the number of leased jobs of a lane that want a slot. It spares them a claim in vain: an intent checks the slots.
local function add_wanting(queue, lane, change)
  local count = redis.pcall('HINCRBY', P .. 'wanting:' .. queue, lane, change)
  if type(count) == 'table' or count < 0 then  -- a foreign value, or a claim that failed half-way
    redis.pcall('HSET', P .. 'wanting:' .. queue, lane, math.max(change, 0))
  end
end

-- Move a foreign member of an index to a bounded list, with the name of its key.
local function set_aside(key, member)
  redis.call('ZREM', key, member)
  redis.call('LPUSH', P .. 'set_aside', key .. ' ' .. member)
  redis.call('LTRIM', P .. 'set_aside', 0, 999)
end

-- The stored value of a job: its position and its version, both packed, then its record.
local function position(value)
  return string.sub(value, 1, end_of_packed(value, 1) - 1)
end

local function version(value)
  local at = end_of_packed(value, 1)
  return string.sub(value, at, end_of_packed(value, at) - 1)
end

local function number(text)
  return tonumber(string.sub(text, 2), 16)
end

-- A stored value with the next version, and with `record` if given.
local function with_next_version(value, record)
  local at = end_of_packed(value, 1)
  local rest = end_of_packed(value, at)
  local following = packed(number(string.sub(value, at, rest - 1)) + 1)
  return string.sub(value, 1, at - 1) .. following .. (record or string.sub(value, rest))
end

-- The line of a channel's jobs of one priority in a lane.
local function line_key(queue, lane, channel, priority)
  return P .. 'line:' .. queue .. ':' .. lane .. ':' .. channel .. (priority == '0' and '' or '!' .. priority)
end

-- Add a waiting job to the line of its channel, which sleeps until the first of them is due (see turns.lua).
local asleep_until = {}
local function enter_line(queue, lane, channel, priority, due, member)
  redis.call('ZADD', line_key(queue, lane, channel, priority), due, member)
  local place = queue .. ':' .. lane
  local known = asleep_until[place .. ':' .. channel]
  if not known or tonumber(due) < known then
    asleep_until[place .. ':' .. channel] = tonumber(due)
    redis.call('ZADD', P .. 'asleep:' .. place, 'LT', due, channel)
  end
  if priority ~= '0' then
    local levels = redis.call('HGET', P .. 'priorities:' .. place, channel) or ''
    if not string.find(levels, priority, 1, true) then
      redis.call('HSET', P .. 'priorities:' .. place, channel, levels .. priority)
    end
  end
end

-- Remove a job's index entries, or add them (index, below).
-- where: {queue, lane, status, due, slot service, slot until, finished, latest start, channel, priority}.
local function unindex(id, place, where)
  redis.call('ZREM', P .. 'status:' .. where[1] .. ':' .. where[3], id)
  if where[4] ~= '' then
    redis.call('ZREM', P .. 'due:' .. where[1] .. ':' .. where[2], place .. id)
    redis.call('ZREM', P .. 'scheduled:' .. where[1], id)
  end
  if string.sub(where[2], 1, 1) ~= '#' then
    redis.call('ZREM', line_key(where[1], where[2], where[9], where[10]), place .. id)
  end
  if where[5] ~= '' then
    redis.call('ZREM', P .. 'slots:' .. where[5], id)
    redis.call('ZREM', P .. 'channel_slots:' .. where[9], id)
  end
  if where[7] ~= '' then
    redis.call('ZREM', P .. 'finished', place .. id)
  end
  if where[8] ~= '' then
    redis.call('ZREM', P .. 'starts', id)
  end
end

-- Add each lane only once in a call, because one call can add hundreds of jobs.
local lanes_seen = {}
local function remember_lane(queue, lane)
  if not lanes_seen[queue .. ':' .. lane] then
    lanes_seen[queue .. ':' .. lane] = true
    redis.call('SADD', P .. 'lanes:' .. queue, lane)
  end
end

local function index(id, place, where)
  redis.call('ZADD', P .. 'status:' .. where[1] .. ':' .. where[3], number(place), id)
  if where[4] ~= '' then
    redis.call('ZADD', P .. 'due:' .. where[1] .. ':' .. where[2], where[4], place .. id)
    remember_lane(where[1], where[2])
    if string.sub(where[2], 1, 1) ~= '#' then
      enter_line(where[1], where[2], where[9], where[10], where[4], place .. id)
    end
    if where[3] == 'scheduled' then
      redis.call('ZADD', P .. 'scheduled:' .. where[1], where[4], id)
    end
  end
  if where[5] ~= '' then
    redis.call('ZADD', P .. 'slots:' .. where[5], where[6], id)
    if where[9] ~= '' then
      redis.call('ZADD', P .. 'channel_slots:' .. where[9], where[6], id)
    end
  end
  if where[3] == 'succeeded' or where[3] == 'cancelled' then
    redis.call('ZADD', P .. 'finished', where[7], place .. id)
  end
  if where[8] ~= '' then
    redis.call('ZADD', P .. 'starts', where[8], id)
  end
end

-- Lists find the jobs of a service or channel in a bitmap: one bit for each block of 16 neighbouring positions, set when
-- such a job enters the block and never cleared.
local latest_block = {}
local function mark(name, number)
  local block = math.floor(number / 16)
  if latest_block[name] ~= block then
    latest_block[name] = block
    redis.call('SETBIT', P .. 'zones:' .. name, block, 1)
  end
end

local function mark_service(number, lane)
  mark('service:' .. string.gsub(lane, '^#', ''), number)
end

-- Lists find the jobs of a day by the first and last position of that day.
local noted_day
local function note_day(number, day)
  if noted_day ~= day then
    noted_day = day
    redis.call('HSETNX', P .. 'days:first', day, number)
    redis.call('SET', P .. 'zones:from', number, 'NX')
  end
  redis.call('HSET', P .. 'days:last', day, number)
end

-- Add a job to a queue unless its id is known; return whether it is new. job: {id, lane, status, due, record, service,
-- channel, latest start, priority, and, if it can be a finished one, when it finished}. slot_service, slot_until: its in-flight slot, if any.
local function insert(instant, queue, day, job, slot_service, slot_until)
  local id, lane, status, due, record, service, channel, start_by, priority, finished = unpack(job)
  local remembered = redis.call('ZSCORE', P .. 'finished_ids', id)
  if remembered and tonumber(remembered) > instant then
    return false
  end
  local number = redis.call('INCR', P .. 'position')
  local place = packed(number)
  if redis.call('HSETNX', P .. 'jobs', id, place .. packed(1) .. record) == 0 then
    return false
  end
  index(id, place, {
    queue, lane, status, due, slot_service or '', slot_until or '', finished or '', start_by, channel, priority,
  })
  note_day(number, day)
  mark('service:' .. service, number)
  if channel ~= '' then
    mark('channel:' .. channel, number)
  end
  return true
end
