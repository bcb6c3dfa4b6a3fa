-- Ask for an admission, or peek without changing anything; decides like `ledger.decide`.
-- ARGV[2]: service, [3]: waiter, or empty to peek, [4], [5]: the environment's windows of the service (empty: it is not
-- metered) and of `global`. Returns 'instant' or 'instant|probe' for an admission, and for a refusal
-- 'instant|opens at|ask again at|stopped by|full log|its limit|its span|its pace|reason'. One text, because drivers parse
-- one text faster than nine.
local instant = now()
local service, waiter = ARGV[2], ARGV[3]
local gate_key, tally = P .. 'gate:' .. service, P .. 'tally:' .. service
local first_asks, hints = P .. 'asked:' .. service, P .. 'told:' .. service

local gate = redis.call('HMGET', gate_key, 'limits', 'pace', 'drag', 'closed_until', 'stopped', 'probe_at')
local share = (tonumber(gate[2]) or 1) * (tonumber(gate[3]) or 1)
local stopped = gate[5] or ''
local reopens_at = tonumber(gate[4]) or 0
if stopped == BY_HAND then
  reopens_at = math.huge
elseif stopped ~= '' then
  reopens_at = math.max(reopens_at, tonumber(gate[6]))
end

-- The logs that count this service, each with its windows: limit and span at the pace, nominal limit and span, pace.
local logs = {}
local NO_WINDOW = {0, 0, 0, 0, 1}
local function count_in(name, text_, at_share)
  local windows, keep = {}, KEPT
  for limit, span in string.gmatch(text_, '(%d+)/(%d+)s') do
    local most = math.max(1, math.ceil(limit * at_share))
    windows[#windows + 1] = {most, span * most / (limit * at_share), limit, span, at_share}
    keep = math.max(keep, tonumber(limit))
  end
  logs[#logs + 1] = {name, P .. 'log:' .. name, windows, keep}
end
local own = gate[1] and gate[1] ~= '' and gate[1] or ARGV[4]
if own ~= '' then
  count_in(service, own, share)
  local overall = redis.call('HGET', P .. 'gate:global', 'limits')
  count_in('global', overall and overall ~= '' and overall or ARGV[5], 1)
end

-- The n-th most recent admission; for a deleted one, the oldest that is left.
local function recent(log, nth)
  local at = redis.call('LINDEX', log, nth - 1)
  if not at and redis.call('EXISTS', log .. ':trimmed') == 1 then
    at = redis.call('LINDEX', log, -1)
  end
  return at and tonumber(at) or -math.huge
end

-- When all windows have room for the waiter at a place in the line, and which window is the last to have it.
local earliest = math.max(reopens_at, instant)
local function frees(place)
  local latest, by, full = earliest, '', NO_WINDOW
  for _, log in ipairs(logs) do
    for _, window in ipairs(log[3]) do
      local rank = place % window[1]
      local at = math.max(earliest, recent(log[2], window[1] - rank) + window[2])
        + (place - rank) / window[1] * window[2]
      if at > latest then
        latest, by, full = at, log[1], window
      end
    end
  end
  return latest, by, full
end

local opens_at, by, full
if stopped ~= '' and reopens_at > instant then
  opens_at, by, full = reopens_at, '', NO_WINDOW
else
  opens_at, by, full = frees(0)
end
if opens_at <= instant then
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
  local first_asked = redis.call('ZSCORE', first_asks, waiter)
  if first_asked then
    redis.call('ZREM', first_asks, waiter)
    redis.call('ZREM', hints, waiter)
  end
  if #logs > 0 then
    if first_asked then
      local waited = instant - tonumber(first_asked)
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

local previous_hint = waiter ~= '' and tonumber(redis.call('ZSCORE', hints, waiter) or '-1') or -1
local until_ = previous_hint
-- A waiter that returns before its hint gets the same hint again.
if previous_hint < opens_at then
  -- Its place: the number of waiters that asked earlier and whose hint has not passed.
  local place, waited = 0, 0
  if waiter ~= '' then
    place = redis.call('ZCOUNT', hints, '(' .. text(instant), '+inf')
    if previous_hint >= 0 then
      place = math.min(place, redis.call('ZRANK', first_asks, waiter))
      waited = instant - tonumber(redis.call('ZSCORE', first_asks, waiter))
    end
  end
  if stopped ~= '' and reopens_at > instant then
    until_ = math.min(reopens_at, instant + math.min(math.max(STOPPED_HINT, waited / 2), LONGEST_HINT))
  else
    until_ = place > 0 and frees(place) or opens_at
    if until_ - instant > LONGEST_HINT then
      until_ = instant + LONGEST_HINT * (0.5 + place * GOLDEN % 1 / 2)
    end
  end
  if waiter ~= '' then
    redis.call('ZADD', hints, text(until_), waiter)
    if previous_hint < 0 then
      redis.call('ZADD', first_asks, text(instant), waiter)
      local gone = redis.call('ZRANGEBYSCORE', hints, '-inf', '(' .. text(instant - FORGET_WAITERS), 'LIMIT', 0, 100)
      if #gone > 0 then
        redis.call('ZREM', hints, unpack(gone))
        redis.call('ZREM', first_asks, unpack(gone))
      end
    end
  end
end
local why = by == '' and redis.call('HGET', gate_key, 'why') or ''
return table.concat({text(instant), text(opens_at), text(until_), stopped, by, full[3], full[4], text(full[5]), why}, '|')
