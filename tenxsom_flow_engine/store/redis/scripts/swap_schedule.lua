-- Replace the schedule of the name ARGV[2] if its value is ARGV[3] (empty: there is none) by ARGV[4] (empty: remove it).
-- ARGV[5]: the key of the list of topics that ends, or empty; [6]: that of the list to which topics are added, [7]: the
-- position of the first; [8], …: the topics. Returns 1 if it was replaced, else 0.
if (redis.call('HGET', P .. 'schedules', ARGV[2]) or '') ~= ARGV[3] then
  return 0
end
if ARGV[4] == '' then
  redis.call('HDEL', P .. 'schedules', ARGV[2])
else
  redis.call('HSET', P .. 'schedules', ARGV[2], ARGV[4])
end
if ARGV[5] ~= '' then
  redis.call('DEL', P .. 'topics:' .. ARGV[5])
end
for i = 8, #ARGV do
  redis.call('HSET', P .. 'topics:' .. ARGV[6], tonumber(ARGV[7]) + i - 8, ARGV[i])
end
return 1
