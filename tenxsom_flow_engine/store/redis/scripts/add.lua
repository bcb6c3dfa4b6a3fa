-- Add jobs. ARGV[2]: queue, [3]: the day of adding, [4]: the jobs (see insert), in MessagePack. Returns a text with '1' for
-- each job that is new, and '0' for each other.
local instant = now()
redis.call('SADD', P .. 'queues', ARGV[2])
local new = {}
for i, job in ipairs(cmsgpack.unpack(ARGV[4])) do
  new[i] = insert(instant, ARGV[2], ARGV[3], job) and '1' or '0'
end
changed()
return table.concat(new)
