-- Add a record as it is. ARGV[2]: queue, [3]: how many names it may be listed by, then these, then its day, then id, lane,
-- status, due, record, the service whose slot it holds and until when, or empty. Returns 1 if its id was not known, else 0.
local instant = now()
local names = tonumber(ARGV[3])
local i = 5 + names
redis.call('SADD', P .. 'queues', ARGV[2])
local new = insert(
  instant, ARGV[2], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
)
note_inserted(ARGV[4 + names], 4, 3 + names)
changed()
return new and 1 or 0
