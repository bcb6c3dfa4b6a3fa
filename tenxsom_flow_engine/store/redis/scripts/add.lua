-- Add jobs. ARGV[2]: queue, [3]: how many names they may be listed by, then these, then their day; then for each job: id,
-- lane, status, due, record. Returns 1 for each that is new, else 0.
local instant = now()
local queue, names = ARGV[2], tonumber(ARGV[3])
redis.call('SADD', P .. 'queues', queue)
local new = {}
for i = 5 + names, #ARGV, 5 do
  local added = insert(instant, queue, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
  new[#new + 1] = added and 1 or 0
end
note_inserted(ARGV[4 + names], 4, 3 + names)
changed()
return new
