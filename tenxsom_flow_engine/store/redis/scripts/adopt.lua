-- Add a record as it is. ARGV[2]: queue, then id, lane, status, due, record, the service whose slot it holds and until
-- when, or empty. Returns 1 if its id was not known, else 0.
local instant = now()
redis.call('SADD', P .. 'queues', ARGV[2])
local new = insert(instant, ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9])
changed()
return new and 1 or 0
