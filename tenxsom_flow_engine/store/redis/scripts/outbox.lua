-- The outbox; loaded before the scripts that can cause an event. For each endpoint: `outbox:` messages by event,
-- `outbox_at:` events by their time, `outbox_due:` pending events by the time of their next attempt, `outbox_state:` the
-- number of attempts and the state, if it is not a pending one without attempts.

-- Whether the endpoints are those for which a client has made its rows: `rows` has the version of the endpoints that it
-- knows, and the rows, each {endpoint, event, time, due time, message}.
local endpoints_version
local function endpoints_known(rows)
  endpoints_version = endpoints_version or redis.call('GET', P .. 'endpoints_version') or ''
  return endpoints_version == rows[1]
end

local function write_rows(rows)
  for _, row in ipairs(rows[2]) do
    local endpoint, event = row[1], row[2]
    if redis.call('HSETNX', P .. 'outbox:' .. endpoint, event, row[5]) == 1 then
      redis.call('ZADD', P .. 'outbox_at:' .. endpoint, row[3], event)
      redis.call('ZADD', P .. 'outbox_due:' .. endpoint, row[4], event)
    end
  end
end
