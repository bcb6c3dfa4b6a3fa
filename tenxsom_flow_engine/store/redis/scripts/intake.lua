-- Move entries of the legacy list into the store, oldest first; stop if the list no longer matches the entries read.
-- ARGV[2]: queue, [3]: the day of adding, [4]: the list, then for each entry its text and its job (see insert), in
-- MessagePack; the job of an invalid entry is empty; the latest 1,000 of these are kept, each up to 64 KiB. Returns
-- {moved, rejected}.
local instant = now()
local moved, rejected = 0, 0
redis.call('SADD', P .. 'queues', ARGV[2])
for i = 5, #ARGV, 2 do
  if redis.call('LINDEX', ARGV[4], -1) ~= ARGV[i] then
    break
  end
  redis.call('RPOP', ARGV[4])
  if ARGV[i + 1] == '' then
    redis.call('LPUSH', P .. 'rejected', string.sub(ARGV[i], 1, 65536))
    redis.call('LTRIM', P .. 'rejected', 0, 999)
    rejected = rejected + 1
  else
    insert(instant, ARGV[2], ARGV[3], cmsgpack.unpack(ARGV[i + 1]))
    moved = moved + 1
  end
end
if moved > 0 then
  changed()
end
return {moved, rejected}
