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
