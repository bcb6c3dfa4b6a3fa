-- Add jobs. ARGV[2]: queue; then for each job: id, lane, status, due, record. Returns 1 for each that is new, else 0.
local instant = now()
local queue = ARGV[2]
redis.call('SADD', P .. 'queues', queue)
local new = {}
local due_at_once = false
for i = 3, #ARGV, 5 do
  local id, lane, status, due = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local remembered = redis.call('ZSCORE', P .. 'finished_ids', id)
  if redis.call('HEXISTS', P .. 'jobs', id) == 1 or (remembered and tonumber(remembered) > instant) then
    new[#new + 1] = 0
  else
    local place = string.format('%012x', redis.call('INCR', P .. 'position'))
    redis.call('HSET', P .. 'jobs', id, place .. '00000001' .. ARGV[i + 4])
    index(id, place, {queue, lane, status, due, '', '', ''})
    new[#new + 1] = 1
  end
end
changed()
return new
