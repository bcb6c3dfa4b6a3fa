-- Begin an attempt of due rows of the endpoint ARGV[2]: up to ARGV[3], due again after ARGV[4] seconds. Returns for each
-- its message and the number of the attempt, and last the time.
local instant, id = now(), ARGV[2]
local due = P .. 'outbox_due:' .. id
local taken = {}
for _, event in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', text(instant), 'LIMIT', 0, ARGV[3])) do
  local message = redis.call('HGET', P .. 'outbox:' .. id, event)
  if message then
    local state = redis.call('HGET', P .. 'outbox_state:' .. id, event) or '0'
    local tries = (tonumber(string.match(state, '^%d+')) or 0) + 1
    redis.call('HSET', P .. 'outbox_state:' .. id, event, tries .. ' pending')
    redis.call('ZADD', due, text(instant + tonumber(ARGV[4])), event)
    taken[#taken + 1] = message
    taken[#taken + 1] = tostring(tries)
  else
    redis.call('ZREM', due, event)
  end
end
taken[#taken + 1] = text(instant)
return taken
