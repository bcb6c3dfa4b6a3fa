-- Add jobs. ARGV[2]: queue, [3]: the day of adding, then seven values for each job (see insert). Returns for each job 1 if
-- it is new, else 0.
local instant = now()
redis.call('SADD', P .. 'queues', ARGV[2])
local new = {}
for i = 4, #ARGV, 7 do
  new[#new + 1] = insert(instant, ARGV[2], ARGV[3], i) and 1 or 0
end
changed()
return new
