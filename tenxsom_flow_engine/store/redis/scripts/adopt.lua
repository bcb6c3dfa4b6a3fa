-- Add an existing record unchanged. ARGV[2]: queue, [3]: the day of adding, [4]..[10]: the job (see insert), [11], [12]: the
-- service whose slot it has and until when, or empty. Returns 1 if its id was unknown, else 0.
local instant = now()
redis.call('SADD', P .. 'queues', ARGV[2])
local new = insert(instant, ARGV[2], ARGV[3], 4, ARGV[11], ARGV[12])
changed()
return new and 1 or 0
