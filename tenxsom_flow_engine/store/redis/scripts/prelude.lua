-- Put before each script. KEYS[1] is the prefix of all keys, a hash tag, so that they lie in one slot of a cluster.
-- ARGV[1] is an instant, or empty for the server's own time.
local P = KEYS[1] .. ':'

-- The store's time: never earlier than it said before.
local function now()
  local instant = tonumber(ARGV[1])
  if not instant then
    local time = redis.call('TIME')
    instant = tonumber(time[1]) + tonumber(time[2]) / 1000000
  end
  local last = tonumber(redis.call('GET', P .. 'clock') or '0')
  if instant > last then
    redis.call('SET', P .. 'clock', string.format('%.17g', instant))
    return instant
  end
  return last
end

-- Instants as text, to the last bit.
local function text(instant)
  return string.format('%.17g', instant)
end

local function first(key)
  local pair = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return pair[1], tonumber(pair[2])
end

-- Tell who waits that something may be claimed, or that a followed job has changed.
local function changed()
  redis.call('XADD', P .. 'changes', 'MAXLEN', '~', '16', '*', 'c', '')
end

-- A number as text that sorts as numbers do: a letter for how many hexadecimal digits follow, and these.
local function packed(number)
  local digits = string.format('%x', number)
  return string.char(96 + #digits) .. digits
end

-- Where the packed number that begins at a place of a text has ended.
local function past(value, at)
  return at + string.byte(value, at) - 95
end

-- What is stored of a job: its position and its version, both packed, then its record.
local function position(value)
  return string.sub(value, 1, past(value, 1) - 1)
end

local function version(value)
  local at = past(value, 1)
  return string.sub(value, at, past(value, at) - 1)
end

local function number(text)
  return tonumber(string.sub(text, 2), 16)
end

-- A stored value with the version that follows, and with another record if one is given.
local function with_next_version(value, record)
  local at = past(value, 1)
  local rest = past(value, at)
  local following = packed(number(string.sub(value, at, rest - 1)) + 1)
  return string.sub(value, 1, at - 1) .. following .. (record or string.sub(value, rest))
end

-- Take a job out of the indexes, or put it in: where is {queue, lane, status, due, slot service, slot until, finished}.
local function unindex(id, place, where)
  redis.call('ZREM', P .. 'status:' .. where[1] .. ':' .. where[3], id)
  if where[4] ~= '' then
    redis.call('ZREM', P .. 'due:' .. where[1] .. ':' .. where[2], place .. id)
    redis.call('ZREM', P .. 'scheduled:' .. where[1], id)
  end
  if where[5] ~= '' then
    redis.call('ZREM', P .. 'slots:' .. where[5], id)
  end
  if where[7] ~= '' then
    redis.call('ZREM', P .. 'finished', place .. id)
  end
end

-- Once in a call for each lane: thousands of jobs may go in together.
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
    if where[3] == 'scheduled' then
      redis.call('ZADD', P .. 'scheduled:' .. where[1], where[4], id)
    end
  end
  if where[5] ~= '' then
    redis.call('ZADD', P .. 'slots:' .. where[5], where[6], id)
  end
  if where[3] == 'succeeded' or where[3] == 'cancelled' then
    redis.call('ZADD', P .. 'finished', where[7], place .. id)
  end
end

-- Where lists look for the jobs of a service or a channel: a bit for each zone of 16 positions, set and never cleared.
local function mark(name, zone)
  local key = P .. 'zones:' .. name
  if redis.call('GETBIT', key, zone) == 0 then
    redis.call('SETBIT', key, zone, 1)
  end
end

local function mark_service(number, lane)
  mark('service:' .. string.gsub(lane, '^#', ''), math.floor(number / 16))
end

-- Add a job, unless its id is known or remembered; return whether it is new. The slot that it holds, if any, comes last.
local first_added, last_added
local function insert(instant, queue, id, lane, status, due, record, service, slot_until)
  local remembered = redis.call('ZSCORE', P .. 'finished_ids', id)
  if remembered and tonumber(remembered) > instant then
    return false
  end
  local number = redis.call('INCR', P .. 'position')
  local place = packed(number)
  if redis.call('HSETNX', P .. 'jobs', id, place .. packed(1) .. record) == 0 then
    return false
  end
  index(id, place, {queue, lane, status, due, service or '', slot_until or '', ''})
  first_added, last_added = first_added or number, number
  return true
end

-- Note where lists find what was inserted: all of it on one day, by all of the names that are the arguments from and to.
local function note_inserted(day, from, to)
  if last_added then
    for i = from, to do
      for zone = math.floor(first_added / 16), math.floor(last_added / 16) do
        mark(ARGV[i], zone)
      end
    end
    -- Days begin one after the other. What comes in late, for a day that is past, lies behind where that day ended.
    local latest = redis.call('GET', P .. 'days:latest')
    if day ~= latest then
      redis.call('HSETNX', P .. 'days:first', day, first_added)
      if latest and tonumber(day) < tonumber(latest) then
        redis.call('HSET', P .. 'days:last', day, last_added)
      else
        redis.call('SET', P .. 'days:latest', day)
        redis.call('SET', P .. 'zones:from', first_added, 'NX')
      end
    end
  end
end
