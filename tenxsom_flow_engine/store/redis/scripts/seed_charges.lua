-- Count what an earlier release has spent, once. ARGV[2]: the charges (see make_charges), in MessagePack.
if redis.call('SETNX', P .. 'charged', '1') == 1 then
  make_charges(now(), cmsgpack.unpack(ARGV[2]))
end
return 1
