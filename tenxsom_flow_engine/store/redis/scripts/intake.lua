-- Move entries of the plain list into the store, oldest first, as long as they are the ones that were read.
-- ARGV[2]: queue, [3]: how many names they may be listed by, then these, then their day and the list; then for each entry:
-- its text, id, lane, status, due, record; a bad one has no id.
-- Returns {moved, rejected}.
local instant = now()
local queue, names = ARGV[2], tonumber(ARGV[3])
local list = ARGV[5 + names]
local moved, rejected = 0, 0
redis.call('SADD', P .. 'queues', queue)
for i = 6 + names, #ARGV, 6 do
  local id = ARGV[i + 1]
  if redis.call('LINDEX', list, -1) ~= ARGV[i] then
    break
  end
  redis.call('RPOP', list)
  if id == '' then
    redis.call('LPUSH', P .. 'rejected', ARGV[i])
    rejected = rejected + 1
  else
    insert(instant, queue, id, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    moved = moved + 1
  end
end
note_inserted(ARGV[4 + names], 4, 3 + names)
if moved > 0 then
  changed()
end
return {moved, rejected}
