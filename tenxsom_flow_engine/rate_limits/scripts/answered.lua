-- Count an answer. ARGV[2]: service, [3]: seconds, [4]: their histogram bucket. Returns the mean before it, and of how many
-- answers.
local tally = P .. 'tally:' .. ARGV[2]
local usual = tonumber(redis.call('HGET', tally, 'usual') or '0')
local count = redis.call('HINCRBY', tally, 'answered', 1)
redis.call('HINCRBYFLOAT', tally, 'answering', ARGV[3])
redis.call('HINCRBY', tally, 'r' .. ARGV[4], 1)
redis.call('HSET', tally, 'usual', text(usual + (tonumber(ARGV[3]) - usual) / math.min(count, MEMORY)))
return {text(usual), count - 1}
