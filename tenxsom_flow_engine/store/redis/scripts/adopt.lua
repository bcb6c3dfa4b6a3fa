-- Add an existing record unchanged. ARGV[2]: queue, [3]: the day of adding, [4]: the job (see insert), in MessagePack,
-- [5], [6]: the service whose slot it has and until when, or empty, [7]: its charges (see make_charges), in MessagePack, or
-- empty. Returns 1 if its id was unknown, else 0.
local instant = now()
redis.call('SADD', P .. 'queues', ARGV[2])
local new = insert(instant, ARGV[2], ARGV[3], cmsgpack.unpack(ARGV[4]), ARGV[5], ARGV[6])
if new and ARGV[7] ~= '' then
  make_charges(instant, cmsgpack.unpack(ARGV[7]))
end
changed()
return new and 1 or 0
