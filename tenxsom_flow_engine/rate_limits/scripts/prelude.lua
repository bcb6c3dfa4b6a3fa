-- Shared by all scripts of the ledger, and loaded before each. KEYS[1] is the prefix of all keys of the store; ARGV[1] an
-- instant, or empty for the server's time.
local P = KEYS[1] .. ':'

-- An instant as text, without loss of precision.
local function text(instant)
  return string.format('%.17g', instant)
end

-- The store's time, which never goes back. A read need not save the instant that it returns.
local function now()
  local instant = tonumber(ARGV[1])
  if not instant then
    local time = redis.call('TIME')
    instant = tonumber(time[1]) + tonumber(time[2]) / 1000000
  end
  return math.max(instant, tonumber(redis.call('GET', P .. 'clock') or '0'))
end

-- The waiters of a channel by their hints, and by when they first asked.
local function hints_of(service, channel)
  return P .. 'hints:' .. service .. ':' .. channel
end

local function asks_of(service, channel)
  return P .. 'asks:' .. service .. ':' .. channel
end

local function remove_waiter(service, waiter)
  redis.call('ZREM', P .. 'asked:' .. service, waiter)
  redis.call('ZREM', P .. 'told:' .. service, waiter)
  local channel = redis.call('HGET', P .. 'waiter_channels:' .. service, waiter)
  if channel then
    redis.call('HDEL', P .. 'waiter_channels:' .. service, waiter)
    redis.call('ZREM', asks_of(service, channel), waiter)
    redis.call('ZREM', hints_of(service, channel), waiter)
    if redis.call('EXISTS', hints_of(service, channel)) == 0 then
      redis.call('HDEL', P .. 'waiting:' .. service, channel)
    end
  end
end

local function add_waiter(service, waiter, channel, weight, first_asked, hint)
  redis.call('ZADD', P .. 'asked:' .. service, text(first_asked), waiter)
  redis.call('ZADD', P .. 'told:' .. service, text(hint), waiter)
  redis.call('ZADD', asks_of(service, channel), text(first_asked), waiter)
  redis.call('ZADD', hints_of(service, channel), text(hint), waiter)
  redis.call('HSET', P .. 'waiter_channels:' .. service, waiter, channel)
  redis.call('HSET', P .. 'waiting:' .. service, channel, tostring(weight))
end
