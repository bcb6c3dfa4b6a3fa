-- Lease due jobs to a worker. ARGV[2]: queue, [3]: worker, [4]: count, [5]: seconds of a lease, [6], [7]: the
-- environment's limits (dispatches a second, concurrent dispatches), [8]: random text for tokens, [9]: one job's id or
-- empty, [10]...: service, its slots, '1' if it may be chosen for a job that names none.
-- Returns {expired ids, leased jobs (each its lease, id and value, in lines), when to claim again or '', the time, the
-- latest change}.
local instant = now()
local function answer(expired, taken, again)
  local latest = redis.call('XREVRANGE', P .. 'changes', '+', '-', 'COUNT', 1)
  return {expired, taken, again, text(instant), latest[1] and latest[1][1] or '0'}
end
local queue, worker, count, seconds = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local settings = redis.call('HMGET', P .. 'queue:' .. queue, 'paused', 'rate', 'concurrent', 'tokens', 'refilled_at')
if settings[1] == '1' then
  return answer({}, {}, '')
end
local expired = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leased:' .. queue, '-inf', text(instant), 'LIMIT', 0, 100)) do
  local ends, of = string.match(redis.call('HGET', P .. 'leases', id) or '', '^[^|]*|([^|]*)|.*|([^|]*)$')
  if of == queue and (tonumber(ends) or 0) > instant then  -- a foreign score
    redis.call('ZADD', P .. 'leased:' .. queue, ends, id)
  elseif of == queue and is_ours(redis.call('HGET', P .. 'jobs', id), 2) then
    expired[#expired + 1] = id
  else
    set_aside(P .. 'leased:' .. queue, id)
  end
end
if #expired > 0 then
  return answer(expired, {}, text(instant))
end
local rate = tonumber(settings[2] or '') or tonumber(ARGV[6])
local concurrent = tonumber(settings[3] or '') or tonumber(ARGV[7])

-- How many jobs of each lane may be leased; jobs without a ticket need a free slot. This, the token bucket and the order
-- of candidates below are the rules of store/claiming.py: change both together.
local leased = redis.call('ZCOUNT', P .. 'leased:' .. queue, '(' .. text(instant), '+inf')
local function wanting(lane)
  return tonumber(redis.call('HGET', P .. 'wanting:' .. queue, lane) or '0') or 0
end
local lanes, openings, automatic, shared = {}, {}, {}, 0
for i = 10, #ARGV, 3 do
  local service, slots = ARGV[i], tonumber(ARGV[i + 1])
  local in_flight = redis.call('ZCOUNT', P .. 'slots:' .. service, '(' .. text(instant), '+inf')
  lanes[#lanes + 1] = '#' .. service
  openings['#' .. service] = count
  openings[service] = math.max(0, slots - in_flight - wanting(service))
  if ARGV[i + 2] == '1' then
    automatic[service] = true
    shared = shared + openings[service]
  end
end
shared = math.max(0, shared - wanting('auto'))
openings['auto'] = shared
for i = 10, #ARGV, 3 do
  if automatic[ARGV[i]] then
    openings[ARGV[i]] = math.min(openings[ARGV[i]], shared)
  end
  lanes[#lanes + 1] = ARGV[i]
end
lanes[#lanes + 1] = 'auto'
automatic['auto'] = nil

local function has_ticket(lane)
  return string.sub(lane, 1, 1) == '#'
end

local function key_of(lane)
  return P .. 'due:' .. queue .. ':' .. lane
end

-- Return when a claim could succeed next, or ''.
local function next_claim_at()
  local again
  local function sooner(candidate)
    if candidate and (not again or candidate < again) then
      again = candidate
    end
  end
  if ARGV[9] ~= '' then
    local value = redis.call('HGET', P .. 'jobs', ARGV[9])
    if not is_ours(value, 2) then
      return ''
    end
    local until_ = redis.call('ZSCORE', P .. 'leased:' .. queue, ARGV[9])
    if until_ then
      return until_
    end
    for _, lane in ipairs(lanes) do
      local due = redis.call('ZSCORE', key_of(lane), position(value) .. ARGV[9])
      if due and openings[lane] > 0 then
        return due
      end
    end
    return ''
  end
  local _, lease = first(P .. 'leased:' .. queue)
  sooner(lease)
  for _, lane in ipairs(lanes) do
    if openings[lane] > 0 and has_ticket(lane) then
      local _, due = first(key_of(lane))
      sooner(due)
    elseif openings[lane] > 0 then
      local place = place_of(queue, lane)
      local _, due = first(key_of(lane))
      local _, wakes_at = first(P .. 'asleep:' .. place)
      if redis.call('EXISTS', P .. 'turns:' .. place) == 1 then
        sooner(instant)
      elseif due and wakes_at then
        sooner(math.max(due, wakes_at))  -- a channel can sleep until the due time of an ended job
      end
    else
      local slot = redis.call('ZRANGEBYSCORE', P .. 'slots:' .. lane, '(' .. text(instant), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      sooner(tonumber(slot[2]))
    end
  end
  return again and text(again) or ''
end

-- The bucket of the dispatch rate.
local burst = math.max(1, rate / 5)
local passed = math.max(0, instant - (tonumber(settings[5] or '') or 0))
local tokens = math.min(burst, (tonumber(settings[4] or '') or 0) + passed * rate)
local room = math.min(count, concurrent - leased, math.floor(tokens))
if room <= 0 then
  local again = next_claim_at()
  if again == '' or tonumber(again) > instant then
    return answer({}, {}, again)
  end
  if tokens < 1 then
    return answer({}, {}, text(instant + (1 - tokens) / rate + 0.000002))
  end
  local _, lease = first(P .. 'leased:' .. queue)
  return answer({}, {}, lease and text(lease) or '')
end

-- Candidates of each open lane: jobs with a ticket, by due time, then in the order of adding; or the only job.
local candidates = {}
for _, lane in ipairs(lanes) do
  local limit = math.min(room, openings[lane])
  if limit > 0 and ARGV[9] == '' and has_ticket(lane) then
    local found = redis.call('ZRANGEBYSCORE', key_of(lane), '-inf', text(instant), 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #found, 2 do
      if is_ours(found[i], 1) then
        candidates[#candidates + 1] = {tonumber(found[i + 1]), found[i], lane}
      else
        set_aside(key_of(lane), found[i])
      end
    end
  elseif limit > 0 and ARGV[9] ~= '' and #candidates == 0 then
    local value = redis.call('HGET', P .. 'jobs', ARGV[9])
    local member = is_ours(value, 2) and position(value) .. ARGV[9]
    local due = member and redis.call('ZSCORE', key_of(lane), member)
    if due and tonumber(due) <= instant then
      candidates[1] = {tonumber(due), member, lane}
    end
  end
end
table.sort(candidates, function(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end)

local taken, now_wanting = {}, {}
local function is_open(lane)
  return openings[lane] > 0 and not (automatic[lane] and openings['auto'] <= 0)
end

-- Lease a job; return whether it is our entry. The token of a lease that counts in a virtual time ends with '+'.
local function lease(member, lane, counts)
  local id = string.sub(member, end_of_packed(member, 1))
  local stored = redis.call('HGET', P .. 'jobs', id)
  if not is_ours(stored, 2) then
    set_aside(key_of(lane), member)
    return false
  end
  openings[lane] = openings[lane] - 1
  if automatic[lane] then
    openings['auto'] = openings['auto'] - 1
  end
  local value = with_next_version(stored)
  local ends = text(instant + seconds)
  local token = ARGV[8] .. string.format('%04x', #taken) .. (counts and '+' or '')
  local entry = token .. '|' .. ends .. '|' .. text(instant) .. '|' .. worker .. '|' .. queue
  redis.call('HSET', P .. 'jobs', id, value)
  redis.call('HSET', P .. 'leases', id, entry)
  redis.call('ZADD', P .. 'leased:' .. queue, ends, id)
  redis.call('ZREM', key_of(lane), member)
  if not has_ticket(lane) then
    -- It needs a slot: counted here until its intent takes one.
    redis.call('HSET', P .. 'wanting', id, lane)
    now_wanting[lane] = (now_wanting[lane] or 0) + 1
  end
  -- A job with a ticket keeps the status rendering, leased or not.
  local statuses = P .. 'status:' .. queue .. ':'
  local late = redis.call('ZREM', P .. 'scheduled:' .. queue, id) == 1
  if redis.call('ZREM', statuses .. (late and 'scheduled' or 'queued'), id) == 1 then
    redis.call('ZADD', statuses .. 'running', number(position(value)), id)
  end
  taken[#taken + 1] = entry .. '\n' .. id .. '\n' .. value
  return true
end

for _, candidate in ipairs(candidates) do
  if #taken < room and is_open(candidate[3]) then
    lease(candidate[2], candidate[3])
  end
end

-- The jobs without a ticket, in the fair order of their channels.
local turns = {}
for _, lane in ipairs(ARGV[9] == '' and lanes or {}) do
  if not has_ticket(lane) and is_open(lane) then
    wake(queue, lane, instant)
    turns[lane] = next_turn(queue, lane, instant)
  end
end
while #taken < room do
  local best
  for lane, turn in pairs(turns) do
    if is_open(lane) and (not best or turn[1] < best[1] or (turn[1] == best[1]
      and (turn[2] < best[2] or (turn[2] == best[2] and turn[3] < best[3])))) then
      best = turn
    end
  end
  if not best then
    break
  end
  redis.call('ZREM', best[6], best[3])
  if lease(best[3], best[4], true) then
    count_turn(queue, best)
  end
  for _, lane in ipairs(lanes) do
    if turns[lane] and turns[lane][5] == best[5] then
      turns[lane] = #taken < room and is_open(lane) and next_turn(queue, lane, instant) or nil
    end
  end
end
if #taken == 0 then
  return answer({}, {}, next_claim_at())
end
for lane, count in pairs(now_wanting) do
  add_wanting(queue, lane, count)
end
changed()
redis.call('HSET', P .. 'queue:' .. queue, 'tokens', tostring(tokens - #taken), 'refilled_at', text(instant))
return answer({}, taken, #taken == count and text(instant) or next_claim_at())
