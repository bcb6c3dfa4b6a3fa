-- Extend leases. ARGV[2]: seconds, then id, token, ... Returns the ids of lost leases.
local ends = text(now() + tonumber(ARGV[2]))
local lost = {}
for i = 3, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local lease = redis.call('HGET', P .. 'leases', id)
  local queue = lease and string.sub(lease, 1, #token + 1) == token .. '|' and string.match(lease, '([^|]*)$')
  if queue and redis.call('ZSCORE', P .. 'leased:' .. queue, id) then
    local _, _, at, worker = string.find(lease, '^[^|]*|[^|]*|([^|]*)|([^|]*)|')
    redis.call('HSET', P .. 'leases', id, token .. '|' .. ends .. '|' .. at .. '|' .. worker .. '|' .. queue)
    redis.call('ZADD', P .. 'leased:' .. queue, ends, id)
    -- The next version, because a process that read the record before has the old end of the lease.
    redis.call('HSET', P .. 'jobs', id, with_next_version(redis.call('HGET', P .. 'jobs', id)))
  else
    lost[#lost + 1] = id
  end
end
return lost
