-- Take or renew a named lock. ARGV[2]: its name, [3]: the owner, [4]: seconds. Returns 1 if the owner has it, else 0.
local instant = now()
local held = redis.call('HMGET', P .. 'hold:' .. ARGV[2], 'owner', 'until')
if held[1] and held[1] ~= ARGV[3] and tonumber(held[2]) > instant then
  return 0
end
redis.call('HSET', P .. 'hold:' .. ARGV[2], 'owner', ARGV[3], 'until', text(instant + tonumber(ARGV[4])))
-- The key is removed some time after the lock has ended; the server's clock only has to run at a similar speed.
redis.call('EXPIRE', P .. 'hold:' .. ARGV[2], math.ceil(2 * tonumber(ARGV[4])) + 3600)
return 1
