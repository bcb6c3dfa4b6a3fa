-- The fair order of channels; the rules are those of store/fair_share.py: change both together. For each lane without a ticket,
-- `turns` has the virtual times of the channels that might have a due job (they can be out of date), `asleep` the next due time
-- of the others. `virtual` has the current virtual times of channels that are ahead of their queue, and that of the queue, `*`.
local PRIORITY_SECONDS, PAUSE_CHECK_SECONDS = 600, 60
local WAKE, LOOKS = 1000, 1000

local function place_of(queue, lane)
  return queue .. ':' .. lane
end

-- Read only once in a call, because one call can claim or settle many jobs of a channel.
local steps, pauses = {}, {}
local function step_of(channel)
  if not steps[channel] then
    steps[channel] = 1 / (tonumber(redis.call('HGET', P .. 'weights', channel) or '1') or 1)
  end
  return steps[channel]
end

local function is_paused(channel)
  if pauses[channel] == nil then
    pauses[channel] = redis.call('SISMEMBER', P .. 'paused', channel) == 1
  end
  return pauses[channel]
end

local function virtual_time(queue, channel)
  return tonumber(redis.call('ZSCORE', P .. 'virtual:' .. queue, channel) or '0')
end

-- Let the channels whose next job is due take turns, from the virtual time of the queue.
local function wake(queue, lane, instant)
  local asleep, turns = P .. 'asleep:' .. place_of(queue, lane), P .. 'turns:' .. place_of(queue, lane)
  local names = redis.call('ZRANGEBYSCORE', asleep, '-inf', text(instant), 'LIMIT', 0, WAKE)
  if #names == 0 then
    return
  end
  local start = virtual_time(queue, '*')
  for _, channel in ipairs(names) do
    redis.call('ZREM', asleep, channel)
    redis.call('ZADD', turns, 'NX', text(math.max(start, virtual_time(queue, channel))), channel)
  end
  redis.call('ZREMRANGEBYSCORE', P .. 'virtual:' .. queue, '-inf', '(' .. text(start))
end

-- The first job of each priority that a channel has in a lane: {due, member, place in the line, key of the line}.
local function heads(queue, lane, channel)
  local found = {}
  local function look(priority)
    local key = line_key(queue, lane, channel, priority)
    for _ = 1, LOOKS do
      local member, due = first(key)
      if not member then
        return
      end
      if is_ours(member, 1) and redis.call('ZSCORE', P .. 'due:' .. place_of(queue, lane), member) then
        found[#found + 1] = {due, member, due - tonumber(priority) * PRIORITY_SECONDS, key}
        return
      end
      if is_ours(member, 1) then  -- claimed by its id
        redis.call('ZREM', key, member)
      else
        set_aside(key, member)
      end
    end
  end
  look('0')
  for priority in string.gmatch(redis.call('HGET', P .. 'priorities:' .. place_of(queue, lane), channel) or '', '%d') do
    look(priority)
  end
  return found
end

-- The job of a lane whose turn it is: {virtual time, due, member, lane, channel, key of the line}, or nil. Corrects turns.
local function next_turn(queue, lane, instant)
  local asleep, turns = P .. 'asleep:' .. place_of(queue, lane), P .. 'turns:' .. place_of(queue, lane)
  for _ = 1, LOOKS do
    local channel, shown = first(turns)
    if not channel then
      return nil
    end
    local times = redis.call('ZMSCORE', P .. 'virtual:' .. queue, channel, '*')
    local own = tonumber(times[1] or '0')
    if own > shown then
      redis.call('ZADD', turns, text(own), channel)
    elseif is_paused(channel) then
      redis.call('ZREM', turns, channel)
      redis.call('ZADD', asleep, text(instant + PAUSE_CHECK_SECONDS), channel)
    else
      local best, next_due
      for _, head in ipairs(heads(queue, lane, channel)) do
        if head[1] > instant then
          next_due = math.min(next_due or head[1], head[1])
        elseif not best or head[3] < best[3] or (head[3] == best[3] and head[2] < best[2]) then
          best = head
        end
      end
      if best then
        return {math.max(shown, tonumber(times[2] or '0')), best[1], best[2], lane, channel, best[4]}
      end
      redis.call('ZREM', turns, channel)
      if next_due then
        redis.call('ZADD', asleep, text(next_due), channel)
      else
        redis.call('HDEL', P .. 'priorities:' .. place_of(queue, lane), channel)
      end
    end
  end
end

-- Count a lease in the virtual time of its channel; that of the queue is the start of the latest turn.
local function count_turn(queue, turn)
  local after = text(turn[1] + step_of(turn[5]))
  redis.call('ZADD', P .. 'virtual:' .. queue, after, turn[5], text(turn[1]), '*')
  redis.call('ZADD', P .. 'turns:' .. place_of(queue, turn[4]), after, turn[5])
end

-- Take leases that bought nothing off the virtual time of their channel.
local function uncount_turns(queue, lane, channel, count)
  local virtual, turns = P .. 'virtual:' .. queue, P .. 'turns:' .. place_of(queue, lane)
  for _, key in ipairs({virtual, turns}) do
    local before = redis.call('ZSCORE', key, channel)
    if before then
      redis.call('ZADD', key, text(tonumber(before) - count * step_of(channel)), channel)
    end
  end
end
