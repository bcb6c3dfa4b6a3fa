-- Ask for an admission, or peek without changing anything; decides like `ledger.decide`.
-- ARGV[2]: service, [3]: waiter, or empty to peek, [4], [5]: the environment's windows of the service (empty: it is not
-- metered) and of `global`, [6]: the waiter's channel, [7]: its weight, [8]: its windows, or empty. Returns 'instant' or 'instant|probe' for an admission, and for a refusal
-- 'instant|opens at|ask again at|stopped by|full log, `*` if other channels are next|its limit|its span|its pace|reason'. One text, because drivers parse
-- one text faster than nine.
local instant = now()
local service, waiter = ARGV[2], ARGV[3]
local gate_key, tally = P .. 'gate:' .. service, P .. 'tally:' .. service
local first_asks, hints = P .. 'asked:' .. service, P .. 'told:' .. service
local channel, weight = ARGV[6] or '', tonumber(ARGV[7] or '1')

local gate = redis.call('HMGET', gate_key, 'limits', 'pace', 'drag', 'closed_until', 'stopped', 'probe_at')
local share = (tonumber(gate[2]) or 1) * (tonumber(gate[3]) or 1)
local stopped = gate[5] or ''
local reopens_at = tonumber(gate[4]) or 0
if stopped == BY_HAND then
  reopens_at = math.huge
elseif stopped ~= '' then
  reopens_at = math.max(reopens_at, tonumber(gate[6]))
end

-- The logs that count this service, each with its windows: limit and span at the pace, nominal limit and span, pace; and
-- whether it is that of the channel.
local logs = {}
local NO_WINDOW = {0, 0, 0, 0, 1}
local function count_in(name, text_, at_share, of_channel)
  local windows, keep = {}, KEPT
  for limit, span in string.gmatch(text_, '(%d+)/(%d+)s') do
    local most = math.max(1, math.ceil(limit * at_share))
    windows[#windows + 1] = {most, span * most / (limit * at_share), limit, span, at_share}
    keep = math.max(keep, tonumber(limit))
  end
  logs[#logs + 1] = {name, P .. 'log:' .. name, windows, keep, of_channel}
end
local own = gate[1] and gate[1] ~= '' and gate[1] or ARGV[4]
if own ~= '' then
  count_in(service, own, share)
  local overall = redis.call('HGET', P .. 'gate:global', 'limits')
  count_in('global', overall and overall ~= '' and overall or ARGV[5], 1)
end
if waiter ~= '' and ARGV[8] ~= '' then
  count_in('channel:' .. channel, ARGV[8], 1, true)
end

-- The n-th most recent admission; for a deleted one, the oldest that is left.
local function recent(log, nth)
  local at = redis.call('LINDEX', log, nth - 1)
  if not at and redis.call('EXISTS', log .. ':trimmed') == 1 then
    at = redis.call('LINDEX', log, -1)
  end
  return at and tonumber(at) or -math.huge
end

-- Where the waiter stands, as in ledger.fair_line: how many others are before it in its channel, in all channels, and among
-- those of other channels that are expected to ask now.
local known_asks, previous_hint = false, -1
if waiter ~= '' then
  known_asks = tonumber(redis.call('ZSCORE', first_asks, waiter) or '') or false
  previous_hint = tonumber(redis.call('ZSCORE', hints, waiter) or '') or -1
end
local function place_in(hints_key, asks_key)
  local place = redis.call('ZCOUNT', hints_key, '(' .. text(instant), '+inf')
  return known_asks and math.min(place, redis.call('ZCOUNT', asks_key, '-inf', '(' .. text(known_asks))) or place
end
local function virtual_time(name)
  return tonumber(redis.call('ZSCORE', P .. 'admitted:' .. service, name) or '0')
end
local own_place, place, ahead = 0, 0, 0
local function stand()
  place = place_in(hints, first_asks)
  own_place = place
  local names = redis.call('HLEN', P .. 'waiting:' .. service)
  if names == 0 or names > RIVALS + 1 then
    own_place = names > 0 and place_in(hints_of(service, channel), asks_of(service, channel)) or place
    return
  end
  local all = redis.call('HGETALL', P .. 'waiting:' .. service)
  local overall, since = virtual_time('*'), '(' .. text(instant - TURN_SECONDS)
  local start, others = math.max(overall, virtual_time(channel)), {}
  for i = 1, #all, 2 do
    local key = hints_of(service, all[i])
    if all[i] ~= channel then
      local waiting = redis.call('ZCOUNT', key, since, '+inf')
      if waiting > 0 then
        local present = redis.call('ZCOUNT', key, since, text(instant))
        others[#others + 1] = {waiting, present, tonumber(all[i + 1]) or 1, math.max(overall, virtual_time(all[i]))}
      end
    end
  end
  if #others > 0 then
    own_place = place_in(hints_of(service, channel), asks_of(service, channel))
    place = own_place
    for _, other in ipairs(others) do
      local function before(virtual, count)
        return math.max(0, math.min(count, math.ceil((virtual - other[4]) * other[3])))
      end
      place = place + before(start + own_place / weight, other[1])
      ahead = ahead + before(start, other[2])
    end
  end
end
if waiter ~= '' then
  stand()
end

-- When all windows have room: for the first of all waiters of the service, for this one, and for its place in the line; and
-- which window is the last to have it.
local earliest = math.max(reopens_at, instant)
local opens_at, admits_at, place_at, by, full = earliest, earliest, earliest, '', NO_WINDOW
local function frees(log, window, at_place)
  local rank = at_place % window[1]
  return math.max(earliest, recent(log[2], window[1] - rank) + window[2]) + (at_place - rank) / window[1] * window[2]
end
local is_stopped = stopped ~= '' and reopens_at > instant
for _, log in ipairs(is_stopped and {} or logs) do
  for _, window in ipairs(log[3]) do
    local at = frees(log, window, 0)
    if at > math.max(opens_at, admits_at) then
      by, full = log[1], window
    end
    if log[5] then
      admits_at = math.max(admits_at, at)
    else
      opens_at = math.max(opens_at, at)
      admits_at = math.max(admits_at, ahead > 0 and frees(log, window, ahead) or at)
    end
    place_at = math.max(place_at, frees(log, window, log[5] and own_place or place))
  end
end
if admits_at <= instant then
  local answer = text(instant)
  if waiter == '' then
    return answer
  end
  redis.call('SET', P .. 'clock', answer)
  for _, log in ipairs(logs) do
    if redis.call('LPUSH', log[2], answer) >= log[4] + TRIM then
      redis.call('LTRIM', log[2], 0, log[4] - 1)
      redis.call('SET', log[2] .. ':trimmed', '1')
    end
  end
  local first_asked = known_asks
  if first_asked or previous_hint >= 0 then
    remove_waiter(service, waiter)
  end
  if #logs > 0 then
    -- Also while no other channel waits: the one that comes next is then before this one.
    local admitted = P .. 'admitted:' .. service
    local known = redis.call('ZMSCORE', admitted, '*', channel)
    local start = math.max(tonumber(known[1] or '0'), tonumber(known[2] or '0'))
    redis.call('ZADD', admitted, text(start), '*', text(start + 1 / weight), channel)
    if not known[2] then
      redis.call('ZREMRANGEBYSCORE', admitted, '-inf', '(' .. text(start))
    end
  end
  if #logs > 0 then
    if first_asked then
      local waited = instant - first_asked
      local size = math.ceil(PER_DOUBLING * math.log(math.max(waited, FIRST) / FIRST) / math.log(2))
      redis.call('HINCRBY', tally, 'delayed', 1)
      redis.call('HINCRBYFLOAT', tally, 'waited', text(waited))
      redis.call('HINCRBY', tally, 'w' .. math.min(LAST, size), 1)
    else
      redis.call('HINCRBY', tally, 'at_once', 1)
    end
  end
  if stopped ~= '' then
    redis.call('HSET', gate_key, 'probe_at', text(instant + PROBE_INTERVAL))
    redis.call('HINCRBY', gate_key, 'version', 1)
    return answer .. '|probe'
  end
  return answer
end

local until_ = previous_hint
-- A waiter that returns before its hint gets the same hint again.
if previous_hint < math.max(opens_at, instant) then
  if is_stopped then
    local waited = known_asks and instant - known_asks or 0
    until_ = math.min(reopens_at, instant + math.min(math.max(STOPPED_HINT, waited / 2), LONGEST_HINT))
  else
    until_ = place_at
    if until_ - instant > LONGEST_HINT then
      until_ = instant + LONGEST_HINT * (0.5 + place * GOLDEN % 1 / 2)
    end
  end
  if waiter ~= '' then
    if previous_hint < 0 then
      for _, gone in ipairs(redis.call('ZRANGEBYSCORE', hints, '-inf', '(' .. text(instant - FORGET_WAITERS), 'LIMIT', 0, 100)) do
        remove_waiter(service, gone)
      end
    end
    add_waiter(service, waiter, channel, weight, known_asks or instant, until_)
  end
end
if by == '' and earliest <= instant then
  by = '*'
end
local why = by == '' and redis.call('HGET', gate_key, 'why') or ''
return table.concat({text(instant), text(opens_at), text(until_), stopped, by, full[3], full[4], text(full[5]), why}, '|')
