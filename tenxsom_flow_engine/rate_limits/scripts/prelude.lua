-- Put before each script of the ledger. KEYS[1] is the prefix of all keys of the store; ARGV[1] an instant, or empty for
-- the server's own time.
local P = KEYS[1] .. ':'

-- Instants as text, to the last bit.
local function text(instant)
  return string.format('%.17g', instant)
end

-- The store's time: never earlier than it said before. What is only read need not be remembered as said.
local function now()
  local instant = tonumber(ARGV[1])
  if not instant then
    local time = redis.call('TIME')
    instant = tonumber(time[1]) + tonumber(time[2]) / 1000000
  end
  return math.max(instant, tonumber(redis.call('GET', P .. 'clock') or '0'))
end
